"""The commands that ask a running gateway's administration."""

import json
import os
import re
import subprocess
import time

import pytest
from websockets.sync.client import connect

import test_tools
from conftest import KEY, TARGET, running_gateway, start_simulator

LIMIT = 120


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


@pytest.fixture(scope="module")
def gateway_with_tools():
    with test_tools.gateway_at() as running:
        yield running


def held_call(gateway, key):
    """The one row of the calls that wait for a person, and the heading above it."""
    until = time.monotonic() + LIMIT
    while True:
        listed = voxgate(gateway, "approvals", "list", key=key)
        assert listed.returncode == 0, listed.stderr
        heading, *rows = listed.stdout.splitlines()
        if rows:
            row, = rows
            return heading, row
        assert time.monotonic() < until, "nothing waits for a person"


def test_a_held_call_is_approved_from_a_terminal_and_the_conversation_goes_on(gateway_with_tools):
    gateway = gateway_with_tools
    with test_tools.session(gateway) as client:
        assert client.ask_for("refund") == [] and not client.has_seen_a_call()
        heading, row = held_call(gateway, test_tools.RED)
        assert heading.split() == ["APPROVAL", "TOOL", "RISK", "ARGUMENTS", "LEFT", "WHOSE"]
        name, tool, risk, arguments, left, whose = re.split(" {2,}", row)
        assert (tool, risk, whose) == ("refund", "dangerous", "acme/red/desk")
        assert left.endswith("s") and 0 < int(left[:-1]) <= 30
        # Another team neither sees it nor decides about it.
        assert len(voxgate(gateway, "approvals", "list", key=test_tools.BLUE).stdout.splitlines()) == 1
        stranger = voxgate(gateway, "approvals", "approve", name, key=test_tools.BLUE)
        assert (stranger.returncode, stranger.stdout) == (4, "") and stranger.stderr.endswith("(404)\n"), stranger

        approved = voxgate(gateway, "approvals", "approve", name, key=test_tools.RED)
        assert (approved.returncode, approved.stdout) == (0, "approved\n"), approved.stderr
        call = client.wait_for("response.function_call_arguments.done")
        assert call["arguments"] == arguments
        assert client.wait_for("response.done")["response"]["status"] == "completed"
        assert client.give_output(call, "paid")["status"] == "completed"
        assert len(voxgate(gateway, "approvals", "list", key=test_tools.RED).stdout.splitlines()) == 1
        again = voxgate(gateway, "approvals", "deny", name, key=test_tools.RED)
        assert again.returncode == 4 and again.stderr.endswith("(409)\n"), again


def test_a_held_call_is_denied_from_a_terminal_and_the_model_is_told(gateway_with_tools):
    gateway = gateway_with_tools
    with test_tools.session(gateway) as client:
        assert client.ask_for("refund") == []
        # What the caller is told meanwhile.
        client.wait_for("response.done")
        _, row = held_call(gateway, test_tools.RED)
        denied = voxgate(gateway, "approvals", "deny", row.split()[0], key=test_tools.RED)
        assert (denied.returncode, denied.stdout) == (0, "denied\n"), denied.stderr
        said = client.wait_for("response.done")["response"]
        assert (said["status"], said["output"][0]["type"]) == ("completed", "message")
        assert not client.has_seen_a_call()
    assert gateway.metric("voxgate_tool_calls_total", outcome="denied") == 1


def test_a_budget_is_set_changed_and_removed_from_a_terminal(gateway):
    made = voxgate(gateway, "budgets", "set", "--organisation", "acme", "--team", "desk", "--window", "day", "--hard", "12.50")
    assert made.returncode == 0 and made.stdout.startswith("set bud_"), made.stderr
    name = made.stdout.split()[1]
    row = lambda: voxgate(gateway, "budgets", "list").stdout.splitlines()[1].split()
    assert row() == [name, "acme/desk", "day", "0", "-", "12.5", "store"]
    again = voxgate(gateway, "budgets", "set", "--organisation", "acme", "--team", "desk", "--window", "day", "--hard", "1")
    assert again.returncode == 4 and name in again.stderr
    changed = voxgate(gateway, "budgets", "change", name, "--soft", "0.000000001", "--hard", "3")
    assert (changed.returncode, changed.stdout) == (0, f"changed {name}\n"), changed.stderr
    assert row() == [name, "acme/desk", "day", "0", "0.000000001", "3", "store"]
    assert voxgate(gateway, "budgets", "remove", name).stdout == f"removed {name}\n"
    assert voxgate(gateway, "budgets", "remove", name).returncode == 4
    assert voxgate(gateway, "budgets", "set", "--organisation", "acme").returncode == 2, "a budget has a limit"


def test_whoever_may_not_or_finds_nobody_is_told_so_in_one_line(gateway):
    wrong = voxgate(gateway, "sessions", "list", key="vg_wrong")
    assert wrong.returncode == 4 and wrong.stderr.startswith("voxgate: The API key is missing or not valid")
    assert "vg_wrong" not in wrong.stdout + wrong.stderr
    nobody = voxgate(gateway, "sessions", "list", url="http://127.0.0.1:9/v1")
    assert nobody.returncode == 3 and nobody.stderr.startswith("voxgate: no gateway answers at http://127.0.0.1:9/v1")
    assert len(nobody.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["sessions", "approvals", "organisations", "teams", "budgets"])
def test_help_teaches(gateway, command):
    shown = voxgate(gateway, command, "--help").stdout
    assert "List" in shown and "scope `admin`" in shown and "Exit status" in shown
