"""The store of a gateway: made without asking, for its owner only, with an audit log that shows who touched it."""

import json

from conftest import TARGET, Process, start_gateway, start_simulator
from stores import Sqlite
from test_lifecycle import NOWHERE, run


def verify(data, store, *arguments):
    return run("audit", "verify", *store.arguments(data), *arguments, env=store.env)


def test_a_store_that_is_not_there_is_not_made_by_who_looks_at_it(tmp_path):
    data = tmp_path / "data"
    code, output = verify(data, Sqlite())
    assert code == 2 and "there is no store" in output, output
    assert not data.exists(), "a mistyped folder is not made"


def test_a_gateway_keeps_an_audit_log_and_a_removed_row_is_named(tmp_path, new_store):
    data, store = tmp_path / "data", new_store()
    for _ in range(2):
        gateway = start_gateway(data, NOWHERE + store.config, env=store.env)
        code, output = verify(data, store)
        assert code == 0, "a running gateway does not stand in the way: " + output
        assert gateway.process.stop() == 0
    code, output = verify(data, store)
    assert code == 0 and "5 rows, each leads to the next" in output, output
    head = output.splitlines()[-1].removeprefix("head ")
    assert verify(data, store, "--head", head)[0] == 0

    file = data / "voxgate.db"
    assert file.exists() == isinstance(store, Sqlite)
    assert not file.exists() or file.stat().st_mode & 0o077 == 0
    store.execute(data, "DELETE FROM audit_log WHERE sequence = 2")
    code, output = verify(data, store)
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


def test_decisions_stand_in_the_audit_log_with_the_policies_that_made_them(tmp_path, new_store):
    rules = tmp_path / "policies.cedar"
    rules.write_text(
        '@id("everybody-calls")\npermit (principal, action, resource);\n'
        '@id("nothing-large")\nforbid (principal, action == Action::"model.use", resource == Model::"large");\n'
    )
    data, store = tmp_path / "data", new_store()
    simulator, address = start_simulator()
    config = NOWHERE.replace("127.0.0.1:9", address) + f"policies: ['{rules}']\n" + store.config
    gateway = start_gateway(data, config, env=store.env)
    for model in ("small", "large"):
        gateway.ask("POST", "/v1/realtime/client_secrets", json={"session": {"type": "realtime", "model": model}})
    assert gateway.process.stop() == 0
    simulator.stop()

    code, output = run("audit", "list", *store.arguments(data), "--action", "policy.", env=store.env)
    assert code == 0, output
    rows = [line.split("  ", 5) for line in output.splitlines()]
    told = [(actor, action, subject, json.loads(detail)["policies"]) for _, _, actor, action, subject, detail in rows]
    assert told == [
        ("default/default/default", "policy.allow", '"small"', ["everybody-calls"]),
        ("default/default/default", "policy.deny", '"large"', ["nothing-large"]),
    ]
    code, output = verify(data, store)
    assert code == 0 and "5 rows, each leads to the next" in output, output
