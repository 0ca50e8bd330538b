"""The commands that ask a running gateway's administration."""

import json
import os
import subprocess

import pytest
from websockets.sync.client import connect

from conftest import KEY, TARGET, running_gateway, start_simulator

LIMIT = 30


@pytest.fixture(scope="module")
def gateway():
    simulator, address = start_simulator()
    config = f"""
providers: {{ sim: {{ kind: openai-realtime, base_url: "http://{address}/v1" }} }}
routes: [{{ model: "*", provider: sim }}]
"""
    with running_gateway(config) as running:
        yield running
    simulator.stop()


def voxgate(gateway, *arguments, key=KEY, url=None):
    environment = {**os.environ, "VOXGATE_URL": url or gateway.base, "VOXGATE_KEY": key}
    return subprocess.run(
        [TARGET / "voxgate", *arguments], env=environment, capture_output=True, text=True, timeout=LIMIT
    )


def test_a_session_is_listed_and_ended_from_a_terminal(gateway):
    with connect(
        f"ws://{gateway.http}/v1/realtime?model=m",
        additional_headers={"Authorization": f"Bearer {KEY}"}, open_timeout=LIMIT, proxy=None,
    ) as socket:
        name = json.loads(socket.recv(LIMIT))["session"]["id"]
        listed = voxgate(gateway, "sessions", "list")
        assert listed.returncode == 0, listed.stderr
        heading, row = listed.stdout.splitlines()
        assert heading.split() == ["SESSION", "WHOSE", "MODEL", "PROVIDER", "OVER", "STATE", "FOR", "DOLLARS"]
        assert row.split()[:6] == [name, "default/default/default", "m", "sim", "websocket", "open"]
        # A column begins where its heading does.
        assert row.index("websocket") == heading.index("OVER")
        ended = voxgate(gateway, "sessions", "end", name)
        assert (ended.returncode, ended.stdout) == (0, "it ends\n"), ended.stderr
        assert json.loads(socket.recv(LIMIT))["error"]["code"] == "session_ended_by_operator"
    again = voxgate(gateway, "sessions", "end", "sess_nothing")
    assert (again.returncode, again.stderr) == (4, "voxgate: There is no such session. (404)\n")


def test_tenants_are_made_from_a_terminal(gateway):
    assert voxgate(gateway, "organisations", "create", "acme", "--name", "Acme Ltd").stdout == "made acme\n"
    assert voxgate(gateway, "teams", "create", "acme", "desk").stdout == "made acme/desk\n"
    rows = voxgate(gateway, "organisations", "list").stdout.splitlines()
    assert rows[0].split() == ["ORGANISATION", "NAME", "WRITTEN", "IN"] and rows[1].split() == ["acme", "Acme", "Ltd", "store"]
    things = json.loads(voxgate(gateway, "teams", "list", "acme", "--json").stdout)
    assert [(thing["id"], thing["name"]) for thing in things] == [("desk", "desk")]
    assert voxgate(gateway, "approvals", "list").stdout.split() == [
        "APPROVAL", "TOOL", "RISK", "ARGUMENTS", "LEFT", "WHOSE",
    ]


def test_whoever_may_not_or_finds_nobody_is_told_so_in_one_line(gateway):
    wrong = voxgate(gateway, "sessions", "list", key="vg_wrong")
    assert wrong.returncode == 4 and wrong.stderr.startswith("voxgate: The API key is missing or not valid")
    assert "vg_wrong" not in wrong.stdout + wrong.stderr
    nobody = voxgate(gateway, "sessions", "list", url="http://127.0.0.1:9/v1")
    assert nobody.returncode == 3 and nobody.stderr.startswith("voxgate: no gateway answers at http://127.0.0.1:9/v1")
    assert len(nobody.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["sessions", "approvals", "organisations", "teams"])
def test_help_teaches(gateway, command):
    shown = voxgate(gateway, command, "--help").stdout
    assert "List" in shown and "scope `admin`" in shown and "Exit status" in shown
