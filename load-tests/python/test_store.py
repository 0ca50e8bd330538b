"""The store of a gateway: made without asking, for its owner only, with an audit log that shows who touched it."""

import json
import sqlite3

from conftest import TARGET, Process, start_gateway, start_simulator
from test_lifecycle import NOWHERE


def verify(data, *arguments):
    process = Process(TARGET / "voxgate", "audit", "verify", "--data-dir", data, *arguments)
    code = process.child.wait(60)
    process.wait_for_end()
    return code, process.output()


def test_a_gateway_keeps_an_audit_log_and_a_removed_row_is_named(tmp_path):
    data = tmp_path / "data"
    code, output = verify(data)
    assert code == 2 and "there is no store" in output, output
    assert not data.exists(), "a mistyped folder is not made"

    for _ in range(2):
        gateway = start_gateway(data, NOWHERE)
        code, output = verify(data)
        assert code == 0, "a running gateway does not stand in the way: " + output
        assert gateway.process.stop() == 0
    code, output = verify(data)
    assert code == 0 and "5 rows, each leads to the next" in output, output
    head = output.splitlines()[-1].removeprefix("head ")
    assert verify(data, "--head", head)[0] == 0

    store = data / "voxgate.db"
    assert store.stat().st_mode & 0o077 == 0
    with sqlite3.connect(store) as database:
        database.execute("DELETE FROM audit_log WHERE sequence = 2")
    code, output = verify(data)
    assert code == 1 and "row 2 was removed" in output, output


def test_an_unreachable_postgresql_is_one_clear_line_without_its_password(tmp_path):
    config = NOWHERE + "store: { url_env: STORE_URL }\n"
    path = tmp_path / "voxgate.yaml"
    path.write_text(config)
    env = {"STORE_URL": "postgres://gate:swordfish@127.0.0.1:1/voxgate"}
    process = Process(
        TARGET / "voxgate", "standalone", "--config", path, "--data-dir", tmp_path / "data",
        "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--relay", "127.0.0.1:0", env=env,
    )
    assert process.child.wait(60) == 1
    process.wait_for_end()
    assert "the store" in process.output() and "swordfish" not in process.output(), process.output()


def test_decisions_stand_in_the_audit_log_with_the_policies_that_made_them(tmp_path):
    rules = tmp_path / "policies.cedar"
    rules.write_text(
        '@id("everybody-calls")\npermit (principal, action, resource);\n'
        '@id("nothing-large")\nforbid (principal, action == Action::"model.use", resource == Model::"large");\n'
    )
    data = tmp_path / "data"
    simulator, address = start_simulator()
    config = NOWHERE.replace("127.0.0.1:9", address) + f"policies: ['{rules}']\n"
    gateway = start_gateway(data, config)
    for model in ("small", "large"):
        gateway.ask("POST", "/v1/realtime/client_secrets", json={"session": {"type": "realtime", "model": model}})
    assert gateway.process.stop() == 0
    simulator.stop()

    process = Process(TARGET / "voxgate", "audit", "list", "--data-dir", data, "--action", "policy.")
    assert process.child.wait(60) == 0
    process.wait_for_end()
    rows = [line.split("  ", 5) for line in process.output().splitlines()]
    told = [(actor, action, subject, json.loads(detail)["policies"]) for _, _, actor, action, subject, detail in rows]
    assert told == [
        ("default/default/default", "policy.allow", '"small"', ["everybody-calls"]),
        ("default/default/default", "policy.deny", '"large"', ["nothing-large"]),
    ]
    code, output = verify(data)
    assert code == 0 and "5 rows, each leads to the next" in output, output
