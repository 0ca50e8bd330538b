"""What an operator forbids is not said: answers are taken back, calls are ended, and nobody sees the words."""

import json

import pytest
import websockets
from websockets.sync.client import connect

from conftest import running_gateway
from webrtc_peer import call

LIMIT = 30
FORBIDDEN = "lawsuit"
SORRY = "I am sorry, that is a question for a lawyer."
CONFIG = f"""
guardrails:
  - {{ name: advice, on: [agent], words: [{FORBIDDEN}], act: replace, say: "{SORRY}" }}
  - {{ name: abuse, on: [caller], words: [scoundrel], act: end }}
  - {{ name: cards, on: [caller], personal: [card], act: note }}
"""
ADVICE = f"Say exactly: It is a fine day for all of us here, and you should think about a {FORBIDDEN} this week."


@pytest.fixture(scope="module")
def guarded():
    with running_gateway(CONFIG) as running:
        yield running
        running.assert_nothing_is_left()
        for word in (FORBIDDEN, "scoundrel", "4111"):
            assert word not in running.process.output()


class Client:
    def __init__(self, socket):
        self.socket = socket
        self.events = []
        self.wait_for("session.created")

    def send(self, **event):
        self.socket.send(json.dumps(event))

    def write(self, text):
        self.send(type="conversation.item.create", item={
            "type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})

    def wait_for(self, kind):
        while True:
            event = json.loads(self.socket.recv(timeout=LIMIT))
            self.events.append(event)
            if event["type"] == kind:
                return event

    def spoken(self):
        kind = "response.output_audio_transcript.delta"
        return "".join(event["delta"] for event in self.events if event["type"] == kind)


def session(gateway):
    headers = {"Authorization": f"Bearer {gateway.key}"}
    return connect(f"ws://{gateway.http}/v1/realtime?model=m", proxy=None, open_timeout=LIMIT,
                   additional_headers=headers)


def matches(gateway, rule, direction, act):
    return gateway.metric("voxgate_guardrail_matches_total", rule=rule, direction=direction, act=act)


def test_an_answer_that_breaks_a_rule_is_taken_back_and_something_else_is_said(guarded):
    before = matches(guarded, "advice", "agent", "replace")
    with session(guarded) as socket:
        client = Client(socket)
        client.send(type="session.update", session={"type": "realtime", "instructions": ADVICE})
        client.write("What should I do?")
        client.send(type="response.create")
        taken_back = client.wait_for("response.done")["response"]
        assert taken_back["status"] == "incomplete"
        assert taken_back["status_details"]["reason"] == "content_filter"
        instead = client.wait_for("response.done")["response"]
        assert instead["status"] == "completed"
        assert instead["output"][0]["content"][0]["transcript"] == SORRY
    assert FORBIDDEN not in json.dumps([e for e in client.events if not e["type"].startswith("session.")])
    assert client.spoken().endswith(SORRY)
    assert matches(guarded, "advice", "agent", "replace") == before + 1


def test_a_call_ends_where_a_rule_says_so(guarded):
    before = matches(guarded, "abuse", "caller", "end")
    with session(guarded) as socket:
        client = Client(socket)
        client.write("You are a scoundrel, and you know it.")
        error = client.wait_for("error")["error"]
        assert error["code"] == "content_policy_violation"
        with pytest.raises(websockets.ConnectionClosed) as closed:
            while True:
                socket.recv(timeout=LIMIT)
        assert closed.value.rcvd.code == 1008
    assert matches(guarded, "abuse", "caller", "end") == before + 1
    guarded.wait_for_metric(1, "voxgate_sessions_ended_total", reason="guardrail")


def test_a_note_changes_nothing_for_the_caller(guarded):
    before = matches(guarded, "cards", "caller", "note")
    with session(guarded) as socket:
        client = Client(socket)
        client.write("My card is 4111 1111 1111 1111, thanks.")
        client.send(type="response.create")
        assert client.wait_for("response.done")["response"]["status"] == "completed"
    assert matches(guarded, "cards", "caller", "note") == before + 1


def test_a_caller_hears_the_other_sentence_and_nothing_of_the_first(guarded):
    async def scenario(peer):
        await peer.connect(guarded, session={"type": "realtime", "instructions": ADVICE})
        peer.ask_in_writing("What should I do?")
        await peer.event("output_audio_buffer.stopped")
        return peer

    peer = call(scenario)
    done = [event["response"] for event in peer.all("response.done")]
    assert [response["status"] for response in done] == ["incomplete", "completed"]
    started = [event["response_id"] for event in peer.all("output_audio_buffer.started")]
    stopped = [event["response_id"] for kind in ("stopped", "cleared")
               for event in peer.all(f"output_audio_buffer.{kind}")]
    assert started[-1] == done[1]["id"]
    assert sorted(started) == sorted(stopped)
