"""Configuration as code: plan, apply and rollback while calls run, and what a gateway starts with when its file is broken."""

import hashlib
import json
import os
import subprocess

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from conftest import TARGET, Process, running_gateway, start_gateway, start_simulator

LIMIT = 120
EXIT_CONFIG = 78
RED = "vg_red_key_of_a_configuration_test"
SECRET = "sk-secret-of-a-configuration-test"
FORBIDDEN, SORRY = "lawsuit", "I am sorry, that is a question for a lawyer."
GUARDRAIL = f"""
guardrails:
  - {{ name: advice, on: [agent], words: [{FORBIDDEN}], act: replace, say: "{SORRY}" }}
"""
LOCAL = """
providers: { local: { kind: local, decoders: 1 } }
routes: [{ model: "*", provider: local }]
"""
SENTENCE = f"Say exactly: You should think about a {FORBIDDEN} this week."


def voxgate(gateway, command, *arguments, env=None):
    """A command for a running gateway: exit code and output."""
    environment = {**os.environ, "VOXGATE_URL": gateway.base, "VOXGATE_KEY": gateway.key, **(env or {})}
    done = subprocess.run([str(part) for part in (TARGET / "voxgate", command, *arguments)], env=environment,
                          capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def running(gateway):
    answer = gateway.ask("GET", "/admin/v1/configuration")
    assert answer.status_code == 200, answer.text
    return answer.json()


def session(gateway, key=None, model="m"):
    socket = connect(f"ws://{gateway.http}/v1/realtime?model={model}", proxy=None, open_timeout=LIMIT,
                     additional_headers={"Authorization": f"Bearer {key or gateway.key}"})
    assert json.loads(socket.recv(LIMIT))["type"] == "session.created"
    return socket


def wait_for(socket, kind):
    while True:
        event = json.loads(socket.recv(timeout=LIMIT))
        if event["type"] == kind:
            return event


def say_it(socket):
    """Lets the agent say the forbidden word; the status of its answer."""
    socket.send(json.dumps({"type": "session.update", "session": {"type": "realtime", "instructions": SENTENCE}}))
    socket.send(json.dumps({"type": "conversation.item.create", "item": {
        "type": "message", "role": "user", "content": [{"type": "input_text", "text": "What should I do?"}]}}))
    socket.send(json.dumps({"type": "response.create"}))
    return wait_for(socket, "response.done")["response"]["status"]


def test_a_call_keeps_its_guardrail_while_new_calls_get_the_new_configuration(tmp_path):
    without = tmp_path / "without.yaml"
    without.write_text(LOCAL)
    with running_gateway(LOCAL + GUARDRAIL) as gateway:
        first = running(gateway)["revision"]
        assert (first["number"], first["origin"]) == (1, "start")
        old = session(gateway)
        code, plan = voxgate(gateway, "plan", without)
        assert code == 2 and "- guardrails[advice]" in plan, plan
        assert "[for new sessions; 1 session(s) keep the old]" in plan, plan
        assert running(gateway)["revision"] == first, "a plan changes nothing"

        code, applied = voxgate(gateway, "apply", without, "--yes")
        assert code == 0 and "running: revision 2" in applied, applied
        new = session(gateway)
        assert say_it(old) == "incomplete", "the call that ran keeps its guardrail"
        assert say_it(new) == "completed", "a new one has none"
        sessions = gateway.ask("GET", "/admin/v1/sessions").json()["items"]
        assert sorted(item["revision_number"] for item in sessions) == [1, 2]
        now = running(gateway)
        assert {of["number"]: of["sessions"] for of in now["sessions"]} == {1: 1, 2: 1}
        short = now["revision"]["hash"][:12]
        assert gateway.metric("voxgate_config_revision_info", hash=short, revision="2") == 1
        assert gateway.metric("voxgate_config_revision_info", hash=first["hash"][:12], revision="1") == 0
        assert gateway.metric("voxgate_config_applies_total", outcome="applied") == 1
        assert gateway.metric("voxgate_config_last_apply_success_timestamp_seconds") > 1.7e9

        code, back = voxgate(gateway, "rollback")
        assert code == 0 and "running: revision 3" in back, back
        assert running(gateway)["revision"]["hash"] == first["hash"], "a rollback restores what was"
        with session(gateway) as again:
            assert say_it(again) == "incomplete"
        assert say_it(new) == "completed", "what began in between keeps what it had"
        code, listed = voxgate(gateway, "revisions")
        lines = listed.splitlines()
        assert code == 0 and [line.split()[-2] for line in lines] == ["rollback", "apply", "start"], listed
        assert lines[0].startswith("*") and "default/default/default" in lines[0], listed
        old.close()
        new.close()
        gateway.assert_nothing_is_left()


def keys(red=""):
    digest = hashlib.sha256(RED.encode()).hexdigest()
    return f"organisations: {{ acme: {{ teams: {{ red: {{ keys: {{ web: {{ hash: {digest}{red} }} }} }} }} }} }}\n"


def simulated(sim, more=""):
    return f"""
providers:
  sim: {{ kind: openai-realtime, base_url: "http://{sim}/v1", api_key_env: SIM_KEY }}
routes: [{{ model: "*", provider: sim }}]
{more}"""


@pytest.fixture
def sim():
    simulator, address = start_simulator()
    yield address
    simulator.stop()


def test_what_is_broken_is_refused_with_all_its_problems_and_nothing_changes(tmp_path, sim):
    broken = tmp_path / "broken.yaml"
    broken.write_text(simulated(sim, "limits: { sessions: 0, session_duration: 1s }\naudio:\n  complexity: 11\n"))
    with running_gateway(simulated(sim, keys()), env={"SIM_KEY": SECRET}) as gateway:
        before = running(gateway)["revision"]
        call = session(gateway, RED)
        for command in [("plan", broken), ("apply", broken, "--yes")]:
            code, output = voxgate(gateway, *command)
            assert code == EXIT_CONFIG and "3 problem(s)" in output, output
            for place in ["voxgate.yaml:5:24: limits.session_duration", "voxgate.yaml:5:11: limits.sessions",
                          "voxgate.yaml:7:3: audio.complexity"]:
                assert place in output, output
        unknown = tmp_path / "unknown.yaml"
        unknown.write_text("limits: { sesions: 1 }\nhtp: {}\n")
        code, output = voxgate(gateway, "apply", unknown, "--yes")
        assert code == EXIT_CONFIG and ":1:11: " in output and ":2:1: " in output, output
        assert running(gateway)["revision"] == before
        call.send(json.dumps({"type": "session.update", "session": {"type": "realtime", "instructions": "x"}}))
        assert json.loads(call.recv(LIMIT))["type"] == "session.updated"
        refused = gateway.ask("POST", "/admin/v1/configuration/apply", json={
            "bundle": {"configuration": broken.read_text()}, "follows": before["hash"]})
        assert (refused.status_code, len(refused.json()["error"]["problems"])) == (400, 3), refused.text
        assert gateway.metric("voxgate_config_applies_total", outcome="refused") == 1
        assert running(gateway)["revision"] == before
        call.close()


def test_applying_a_revocation_ends_the_calls_of_the_key_and_the_plan_says_so(tmp_path, sim):
    revoked = tmp_path / "revoked.yaml"
    revoked.write_text(simulated(sim, keys(", revoked: true")))
    with running_gateway(simulated(sim, keys()), env={"SIM_KEY": SECRET}) as gateway:
        red, other = session(gateway, RED), session(gateway)
        code, plan = voxgate(gateway, "plan", revoked, "--json")
        plan = json.loads(plan)
        assert (code, plan["sessions_running"], plan["sessions_ending"]) == (2, 2, 1), plan
        [change] = plan["changes"]
        assert change["path"] == "organisations.acme.teams.red.keys.web.revoked"
        assert (change["takes_effect"], change["sessions_ending"]) == ("now", 1)
        assert voxgate(gateway, "apply", revoked, "--yes")[0] == 0
        assert wait_for(red, "error")["error"]["code"] == "account_deactivated"
        with pytest.raises(ConnectionClosed) as closed:
            red.recv(LIMIT)
        assert closed.value.rcvd.code == 1008
        other.send(json.dumps({"type": "session.update", "session": {"type": "realtime", "instructions": "x"}}))
        assert json.loads(other.recv(LIMIT))["type"] == "session.updated"
        other.close()
        gateway.assert_nothing_is_left()


def test_only_whoever_runs_the_gateway_may_touch_its_configuration(tmp_path, sim):
    path = tmp_path / "voxgate.yaml"
    path.write_text(simulated(sim))
    with running_gateway(simulated(sim, keys(", role: owner")), env={"SIM_KEY": SECRET}) as gateway:
        for command in [("plan", path), ("apply", path, "--yes"), ("rollback",), ("revisions",)]:
            code, output = voxgate(gateway, *command, env={"VOXGATE_KEY": RED})
            assert code == 1 and "refuses" in output, output
            assert RED not in output
        assert running(gateway)["revision"]["number"] == 1
        # Nobody agrees where nobody is asked.
        code, output = voxgate(gateway, "apply", path)
        assert code == 1 and "--yes" in output, output
        assert running(gateway)["revision"]["number"] == 1


def test_somebody_who_planned_for_another_revision_changes_nothing(tmp_path, sim, new_store):
    store = new_store()
    config = lambda more="": simulated(sim, more + store.config)
    with running_gateway(config(), env={"SIM_KEY": SECRET, **store.env}) as gateway:
        stale = running(gateway)["revision"]["hash"]
        apply = lambda text, follows: gateway.ask("POST", "/admin/v1/configuration/apply", json={
            "bundle": {"configuration": text}, "follows": follows})
        assert apply(config("limits: { sessions: 7 }\n"), stale).status_code == 200
        late = apply(config("limits: { sessions: 8 }\n"), stale)
        assert (late.status_code, late.json()["error"]["code"]) == (409, "configuration_stale")
        again = apply(config("limits: { sessions: 7 }\n"), stale)
        assert (again.status_code, again.json()["revision"]["number"]) == (200, 2), "what runs already is no conflict"
        audit = gateway.ask("GET", "/admin/v1/audit").json()["items"]
        applied = [entry for entry in audit if entry["action"] == "configuration.apply"]
        assert [entry["subject"] for entry in applied] == ["2", "1"]
        assert applied[0]["actor"] == "default/default/default"


def test_a_gateway_starts_with_what_ran_last_if_its_file_is_broken_and_with_what_was_applied_last(
        tmp_path, sim, new_store):
    store = new_store()
    data, env = tmp_path / "data", {"SIM_KEY": SECRET, **store.env}
    file = simulated(sim, keys() + store.config)
    applied = tmp_path / "applied.yaml"
    applied.write_text(simulated(sim, keys(", revoked: true") + store.config))
    gateway = start_gateway(data, file, env=env)
    assert voxgate(gateway, "apply", applied, "--yes")[0] == 0
    ran = running(gateway)["revision"]
    assert gateway.process.stop() == 0

    # The file is older than what was applied: a key that was taken back does not come back with a restart.
    gateway = start_gateway(data, file, env=env)
    assert running(gateway)["revision"] == ran
    assert "applied since the configuration file was written" in gateway.process.output()
    assert gateway.ask("POST", "/v1/realtime/client_secrets", json={}, headers={
        "Authorization": f"Bearer {RED}"}).status_code == 401
    assert gateway.process.stop() == 0

    gateway = start_gateway(data, "limits: { sesions: 1 }\n", env=env)
    now = running(gateway)
    assert now["revision"] == ran and "sesions" in now["refused_file"]
    assert gateway.metric("voxgate_config_file_refused") == 1
    assert "the last good configuration runs instead" in gateway.process.output()
    with session(gateway):
        pass
    assert gateway.process.stop() == 0

    # The file changed and is good: it is newer than what was applied.
    gateway = start_gateway(data, simulated(sim, "limits: { sessions: 9 }\n" + store.config), env=env)
    assert running(gateway)["revision"]["number"] == ran["number"] + 1
    assert gateway.metric("voxgate_config_file_refused") == 0
    output = gateway.process.output()
    assert gateway.process.stop() == 0
    kept = " ".join(store.column(data, "SELECT bundle FROM config_revisions"))
    assert "SIM_KEY" in kept
    for text in (output, kept, (data / "configuration.json").read_text()):
        assert SECRET not in text and RED not in text


def test_policies_go_along_and_a_restart_is_asked_for_where_one_is_needed(tmp_path, sim):
    policy = tmp_path / "rules.cedar"
    policy.write_text('permit (principal, action, resource);\n@id("no-m")\nforbid (principal, action == Action::"model.use", resource == Model::"m");\n')
    path = tmp_path / "voxgate.yaml"
    path.write_text(simulated(sim, f"policies: ['{policy}']\nreplay: {{ dir: '{tmp_path}/logs' }}\n"))
    with running_gateway(simulated(sim), env={"SIM_KEY": SECRET}) as gateway:
        code, plan = voxgate(gateway, "plan", path)
        assert code == 2 and "+ replay" in plan and "[needs a restart]" in plan, plan
        code, applied = voxgate(gateway, "apply", path, "--yes")
        assert code == 0 and "waiting for a restart: replay" in applied, applied
        assert gateway.metric("voxgate_config_settings_awaiting_restart") == 1
        refused = gateway.ask("POST", "/v1/realtime/client_secrets", json={"session": {"type": "realtime", "model": "m"}})
        assert refused.status_code == 404
        # The text of the policy is part of the revision, whatever becomes of the file.
        policy.write_text("permit (principal, action, resource);\n")
        code, plan = voxgate(gateway, "plan", path)
        assert code == 2 and f"~ policies[{policy}]" in plan, plan
        policy.write_text("permit (principal, action, resource)\nwhen { context.nothing };\n")
        code, output = voxgate(gateway, "apply", path, "--yes")
        assert code == EXIT_CONFIG and "rules.cedar:2: " in output, output


def test_check_takes_a_file_and_names_every_place(tmp_path):
    path = tmp_path / "voxgate.yaml"
    path.write_text("relay:\n  lisen: 127.0.0.1:1\nroutes:\n  - { model: x, provider: missing }\naudio: { fec: loud }\n")
    process = Process(TARGET / "voxgate", "check", path)
    assert process.child.wait(LIMIT) == EXIT_CONFIG
    process.wait_for_end()
    for place in [f"{path}:2:3: ", f"{path}:5:15: "]:
        assert place in process.output(), process.output()
    path.write_text("relay:\n  lisen: 127.0.0.1:1\nroutes:\n  - { model: x, provider: missing }\n")
    process = Process(TARGET / "voxgate", "check", path)
    assert process.child.wait(LIMIT) == EXIT_CONFIG
    process.wait_for_end()
    for place in [f"{path}:2:3: ", f"{path}:4:5: routes[0] leads to"]:
        assert place in process.output(), process.output()
