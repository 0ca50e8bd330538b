"""Tools an agent may call, may not call, and may call once a person says so: over the API, in whole conversations."""

import asyncio
import contextlib
import hashlib
import json
import time

import pytest
from websockets.sync.client import connect

from conftest import HTTP, gateway_config, running_gateway, start_simulator
from webrtc_peer import call

LIMIT = 120
RED, BLUE = "vg_red_operator_of_a_test", "vg_blue_operator_of_a_test"
MOMENT = "One moment please."


def digest(key):
    return hashlib.sha256(key.encode()).hexdigest()


def configuration(sim, window="30s", **provider):
    return gateway_config(sim, **provider) + f"""
agents:
  "*":
    approval_window: {window}
    while_waiting: {MOMENT}
    tools: {{ look: {{ risk: read_only }}, refund: {{ risk: dangerous }} }}
organisations:
  acme:
    teams:
      red: {{ keys: {{ desk: {{ hash: {digest(RED)}, role: operator }} }} }}
      blue: {{ keys: {{ desk: {{ hash: {digest(BLUE)}, role: operator }} }} }}
"""


@contextlib.contextmanager
def gateway_at(window="30s", simulator_arguments=(), **provider):
    simulator, address = start_simulator("--model-delay-ms", "20", *simulator_arguments)
    try:
        with running_gateway(configuration(address, window, **provider)) as running:
            yield running
            running.assert_nothing_is_left()
    finally:
        simulator.stop()


@pytest.fixture(scope="module")
def gateway():
    with gateway_at() as running:
        yield running


class Client:
    def __init__(self, socket):
        self.socket = socket
        self.events = []
        self.wait_for("session.created")
        tools = [{"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}}
                 for name in ("look", "refund", "erase")]
        self.send("session.update", session={"type": "realtime", "tools": tools})

    def send(self, kind, **fields):
        self.socket.send(json.dumps({"type": kind, **fields}))

    def wait_for(self, kind):
        while True:
            event = json.loads(self.socket.recv(timeout=LIMIT))
            self.events.append(event)
            assert event["type"] != "error", event
            if event["type"] == kind:
                return event

    def ask_for(self, tool):
        """The caller wants a tool; what the answer consists of."""
        self.write(f"Please {tool}.")
        self.send("response.create")
        return self.wait_for("response.done")["response"]["output"]

    def write(self, text):
        content = [{"type": "input_text", "text": text}]
        self.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})

    def give_output(self, call, output):
        self.send("conversation.item.create", item={
            "type": "function_call_output", "call_id": call["call_id"], "output": output})
        self.send("response.create")
        return self.wait_for("response.done")["response"]

    def has_seen_a_call(self):
        return "function_call" in json.dumps([e for e in self.events if not e["type"].startswith("session.")])


@contextlib.contextmanager
def session(gateway, key=RED):
    with connect(f"ws://{gateway.http}/v1/realtime?model=sim", proxy=None, open_timeout=LIMIT,
                 additional_headers={"Authorization": f"Bearer {key}"}) as socket:
        yield Client(socket)


def administer(gateway, method, path, key=RED):
    return HTTP.request(method, f"http://{gateway.http}/admin/v1{path}", timeout=LIMIT,
                        headers={"Authorization": f"Bearer {key}"})


def pending(gateway, key=RED):
    answer = administer(gateway, "GET", "/approvals", key)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def audit(gateway):
    answer = administer(gateway, "GET", "/audit?limit=200", gateway.key)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def held_call(gateway):
    """The one call that waits."""
    until = time.monotonic() + LIMIT
    while not (held := pending(gateway)):
        assert time.monotonic() < until, "nothing waits for a person"
        time.sleep(0.02)
    assert len(held) == 1
    return held[0]


def outcomes(gateway, outcome):
    return gateway.metric("voxgate_tool_calls_total", outcome=outcome)


def test_a_tool_that_only_looks_is_called_at_once(gateway):
    before = outcomes(gateway, "allowed")
    with session(gateway) as client:
        output = client.ask_for("look")
        assert [(item["type"], item["name"]) for item in output] == [("function_call", "look")]
        assert client.give_output(output[0], "a fine view")["status"] == "completed"
    assert outcomes(gateway, "allowed") == before + 1


def test_a_tool_the_agent_does_not_have_is_answered_for_it_and_the_conversation_goes_on(gateway):
    before = outcomes(gateway, "refused")
    with session(gateway) as client:
        assert client.ask_for("erase") == []
        # Nobody asked for this one but the gateway.
        said = client.wait_for("response.done")["response"]
        assert (said["status"], said["output"][0]["type"]) == ("completed", "message")
        assert not client.has_seen_a_call()
    assert outcomes(gateway, "refused") == before + 1


def test_a_held_call_that_is_approved_over_the_api_continues_the_conversation(gateway):
    with session(gateway) as client:
        assert client.ask_for("refund") == []
        # The caller is told meanwhile.
        assert client.wait_for("response.done")["response"]["output"][0]["type"] == "message"
        assert not client.has_seen_a_call()
        held = held_call(gateway)
        assert (held["tool"], held["risk"], held["organisation"], held["team"]) == ("refund", "dangerous", "acme", "red")
        assert pending(gateway, BLUE) == [], "another team's calls do not exist"
        refused = administer(gateway, "POST", f"/approvals/{held['id']}/approve", BLUE)
        assert refused.status_code == 404, refused.text
        answer = administer(gateway, "POST", f"/approvals/{held['id']}/approve")
        assert (answer.status_code, answer.json()["state"]) == (200, "approved"), answer.text
        call = client.wait_for("response.function_call_arguments.done")
        assert (call["call_id"], call["arguments"]) == (held["call"], held["arguments"])
        assert client.wait_for("response.done")["response"]["status"] == "completed"
        assert client.give_output(call, "paid")["status"] == "completed"
        assert pending(gateway) == []
        again = administer(gateway, "POST", f"/approvals/{held['id']}/deny")
        assert again.status_code == 409, again.text
    until = time.monotonic() + LIMIT
    wanted = {("policy.ask_person", "refund"), ("approval.approve", held["id"])}
    while not wanted <= {(entry["action"], entry["subject"]) for entry in audit(gateway)}:
        assert time.monotonic() < until, audit(gateway)
        time.sleep(0.1)
    assert outcomes(gateway, "approved") == 1


def test_a_held_call_that_is_denied_is_told_to_the_model(gateway):
    with session(gateway) as client:
        assert client.ask_for("refund") == []
        client.wait_for("response.done")
        held = held_call(gateway)
        assert administer(gateway, "POST", f"/approvals/{held['id']}/deny").json()["state"] == "denied"
        said = client.wait_for("response.done")["response"]
        assert (said["status"], said["output"][0]["type"]) == ("completed", "message")
        assert not client.has_seen_a_call()
    assert outcomes(gateway, "denied") == 1


def test_a_held_call_nobody_decides_about_expires_and_the_model_goes_on():
    with gateway_at(window="5s") as gateway, session(gateway) as client:
        assert client.ask_for("refund") == []
        client.wait_for("response.done")
        said = client.wait_for("response.done")["response"]
        assert (said["status"], said["output"][0]["type"]) == ("completed", "message")
        assert not client.has_seen_a_call() and pending(gateway) == []
        assert outcomes(gateway, "expired") == 1
        assert gateway.metric("voxgate_tool_approval_wait_seconds_count") == 1


def test_a_call_that_ends_takes_its_held_calls_with_it(gateway):
    before = outcomes(gateway, "withdrawn")
    with session(gateway) as client:
        assert client.ask_for("refund") == []
        held = held_call(gateway)
    gateway.wait_for_metric(before + 1, "voxgate_tool_calls_total", outcome="withdrawn")
    assert pending(gateway) == []
    assert administer(gateway, "POST", f"/approvals/{held['id']}/approve").status_code == 404


def test_a_held_call_survives_the_connection_to_its_provider():
    # The simulator answers with everything the connection knows.
    tells_all = ["--answer-text", "session {session} knows {context}"]
    with gateway_at(simulator_arguments=tells_all, max_connection="1s") as gateway, session(gateway) as client:
        assert client.ask_for("refund") == []
        client.wait_for("response.done")
        held = held_call(gateway)
        until = time.monotonic() + LIMIT
        while not gateway.metric("voxgate_provider_rotations_total", outcome="moved", reason="age"):
            assert time.monotonic() < until, "the conversation never moved"
            time.sleep(0.05)
        assert administer(gateway, "POST", f"/approvals/{held['id']}/approve").status_code == 200
        call = client.wait_for("response.function_call_arguments.done")
        client.wait_for("response.done")
        said = client.give_output(call, "paid")["output"][0]["content"][0]["transcript"]
        assert not said.startswith("session 1 "), said
        # An output without its call is refused by vendors.
        assert said.index(" function_call: ") < said.index(" function_call_output: paid"), said


def test_a_caller_on_webrtc_hears_the_moment_and_runs_the_call(gateway):
    async def scenario(peer):
        tools = [{"type": "function", "name": "refund", "parameters": {"type": "object", "properties": {}}}]
        await peer.connect(gateway, session={"type": "realtime", "model": "sim", "tools": tools})
        peer.ask_in_writing("Please refund.")
        await peer.event("output_audio_buffer.started")
        # These calls belong to the first key, which owns another organisation.
        held = (await asyncio.to_thread(administer, gateway, "GET", "/approvals", gateway.key)).json()["items"]
        assert [entry["tool"] for entry in held] == ["refund"]
        approve = f"/approvals/{held[0]['id']}/approve"
        answer = await asyncio.to_thread(administer, gateway, "POST", approve, gateway.key)
        assert answer.status_code == 200, answer.text
        await peer.event("response.function_call_arguments.done")
        return peer

    peer = call(scenario)
    assert len(peer.all("response.function_call_arguments.done")) == 1
