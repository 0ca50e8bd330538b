"""What an operator forbids is not said: answers are taken back, calls are ended, and nobody sees the words."""

import asyncio
import contextlib
import hashlib
import hmac
import http.server
import json
import os
import re
import statistics
import threading
import time

import pytest
import websockets
from websockets.sync.client import connect

from conftest import gateway_config, running_gateway, start_simulator
from webrtc_peer import call

LIMIT = 120
CARD = "4111 1111 1111 1111"
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
        for word in (FORBIDDEN, "scoundrel"):
            assert word not in running.process.output()
        assert not tells_number(running.process.output())


def tells_number(text):
    """Whether the card's number is in `text`: more than four of its digits, which may be a time's or an id's."""
    return re.search(r"4111\W?1111", text) is not None


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
        client.write(f"My card is {CARD}, thanks.")
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


class Judge:
    """A server of the operator that says what is to be done about words. Answers once it is let."""

    SECRET = "a secret of sixteen or more"

    def __init__(self):
        self.shown = []
        self.answers = {}
        self.may_answer = threading.Event()
        self.may_answer.set()
        judge = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                stamp, signature = (part.split("=")[1] for part in self.headers["voxgate-signature"].split(","))
                expected = hmac.new(judge.SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
                assert hmac.compare_digest(signature, expected)
                shown = json.loads(body)
                judge.shown.append(shown)
                judge.may_answer.wait(LIMIT)
                wanted = [answer for word, answer in judge.answers.items() if word in shown["words"]]
                answer = json.dumps(wanted[0] if wanted else {"act": "pass"}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                with contextlib.suppress(BrokenPipeError):
                    self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/judge"

    def close(self):
        self.may_answer.set()
        self.server.shutdown()


@contextlib.contextmanager
def judged(deadline="10s", fail="open", act=""):
    judge = Judge()
    config = f"""
guardrails:
  - name: judge
    on: [caller, agent]
    webhook: {{ url: "{judge.url}", deadline: {deadline}, fail: {fail}, secret_env: JUDGE_SECRET }}
    {act}
"""
    with running_gateway(config, env={"JUDGE_SECRET": Judge.SECRET}) as running:
        yield running, judge
        running.assert_nothing_is_left()
        for word in (FORBIDDEN, "scoundrel"):
            assert word not in running.process.output()
    judge.close()


def ask_for_advice(client):
    client.send(type="session.update", session={"type": "realtime", "instructions": ADVICE})
    client.write("What should I do?")
    client.send(type="response.create")


def test_a_judge_outside_takes_an_answer_back():
    with judged() as (gateway, judge):
        with session(gateway) as socket:
            judge.answers[FORBIDDEN] = {"act": "replace", "say": SORRY}
            client = Client(socket)
            ask_for_advice(client)
            while (done := client.wait_for("response.done")["response"])["status"] != "completed" or (
                    done["output"][0]["content"][0]["transcript"] != SORRY):
                pass
            assert any(shown["direction"] == "agent" and FORBIDDEN in shown["words"] for shown in judge.shown)
            assert any(shown["words"] == "What should I do?" for shown in judge.shown)
        assert matches(gateway, "judge", "agent", "replace") == 1


def test_a_judge_outside_ends_a_call():
    with judged() as (gateway, judge):
        with session(gateway) as socket:
            judge.answers["scoundrel"] = {"act": "end"}
            client = Client(socket)
            client.write("You are a scoundrel.")
            assert client.wait_for("error")["error"]["code"] == "content_policy_violation"
        gateway.wait_for_metric(1, "voxgate_sessions_ended_total", reason="guardrail")


def test_nobody_waits_for_a_judge_that_is_silent():
    with judged() as (gateway, judge):
        with session(gateway) as socket:
            judge.may_answer.clear()
            client = Client(socket)
            ask_for_advice(client)
            done = client.wait_for("response.done")["response"]
            assert done["status"] == "completed", "heard to its end while the judge thinks"
            assert judge.shown
            judge.may_answer.set()


def test_a_judge_that_is_late_counts_as_the_operator_says():
    with judged(deadline="50ms", fail="closed", act="act: end") as (gateway, judge):
        with session(gateway) as socket:
            judge.may_answer.clear()
            client = Client(socket)
            client.write("Hello there.")
            assert client.wait_for("error")["error"]["code"] == "content_policy_violation"
            judge.may_answer.set()
        assert gateway.metric("voxgate_guardrail_webhooks_total", rule="judge", outcome="late") == 1
        assert [event["text"] for event in gateway.events("guardrail", "error", "ended")] == [
            "The guardrail judge gave no opinion, and its rule then demands: end.",
            "The session is over: a guardrail ends calls in which that is said.",
        ]
    with judged(deadline="50ms") as (gateway, judge):
        with session(gateway) as socket:
            judge.may_answer.clear()
            client = Client(socket)
            client.write("Hello there.")
            gateway.wait_for_metric(1, "voxgate_guardrail_webhooks_total", rule="judge", outcome="late")
            client.send(type="response.create")
            assert client.wait_for("response.done")["response"]["status"] == "completed"
        silent, *_ = gateway.events("guardrail")
        assert (silent["severity"], silent["text"]) == (
            "warning", "The guardrail judge gives no opinion: words go on without it.")


@pytest.mark.parametrize("way", ["typed", "told again"])
def test_what_a_rule_hides_does_not_reach_the_model_nor_a_log(way, tmp_path):
    """The simulator answers with everything it knows."""
    simulator, address = start_simulator("--answer-text", "it knows {context}", "--model-delay-ms", "20")
    config = gateway_config(address, max_connection="1s" if way == "told again" else "1h") + f"""
guardrails:
  - {{ name: cards, on: [caller], personal: [card], act: mask }}
replay: {{ dir: {tmp_path}/logs }}
"""
    with running_gateway(config) as gateway:
        headers = {"Authorization": f"Bearer {gateway.key}"}
        with connect(f"ws://{gateway.http}/v1/realtime?model=sim", proxy=None, open_timeout=LIMIT,
                     additional_headers=headers) as socket:
            client = Client(socket)
            client.write(f"My card is {CARD}, thanks.")
            seen = client.wait_for("conversation.item.done")["item"]["content"][0]["text"]
            assert "4111" in seen, "the client's own words stay the client's"
            if way == "told again":
                until = time.monotonic() + LIMIT
                while not gateway.metric("voxgate_provider_rotations_total", outcome="moved", reason="age"):
                    assert time.monotonic() < until, "the conversation never moved"
                    time.sleep(0.05)
            client.send(type="response.create")
            said = client.wait_for("response.done")["response"]["output"][0]["content"][0]["transcript"]
            assert "My card is [" in said and not tells_number(said), said
        gateway.assert_nothing_is_left()
    simulator.stop()
    logs = [path.read_text() for path in (tmp_path / "logs").iterdir()]
    assert logs and not any(tells_number(log) or re.search(r"\bcard\b", log) for log in logs)


def test_what_a_judge_hides_is_not_told_again_nor_in_a_log(tmp_path):
    """The simulator answers with everything it knows; the conversation moves to another connection every second."""
    simulator, address = start_simulator("--answer-text", "it knows {context}", "--model-delay-ms", "20")
    judge = Judge()
    judge.answers["Walther"] = {"act": "mask", "words": ["Walther"]}
    config = gateway_config(address, max_connection="1s") + f"""
guardrails:
  - {{ name: judge, on: [caller], webhook: {{ url: "{judge.url}", deadline: 10s, masks: true, secret_env: JUDGE_SECRET }} }}
replay: {{ dir: {tmp_path}/logs }}
"""
    with running_gateway(config, env={"JUDGE_SECRET": Judge.SECRET}) as gateway:
        moved = lambda: gateway.metric("voxgate_provider_rotations_total", outcome="moved", reason="age") or 0
        headers = {"Authorization": f"Bearer {gateway.key}"}
        with connect(f"ws://{gateway.http}/v1/realtime?model=sim", proxy=None, open_timeout=LIMIT,
                     additional_headers=headers) as socket:
            client = Client(socket)
            client.write("My name is Walther.")
            until = time.monotonic() + LIMIT
            while not matches(gateway, "judge", "caller", "mask"):
                assert time.monotonic() < until, "the judge was not heeded"
                time.sleep(0.05)
            before = moved()
            while moved() == before:
                assert time.monotonic() < until, "the conversation never moved"
                time.sleep(0.05)
            client.send(type="response.create")
            said = client.wait_for("response.done")["response"]["output"][0]["content"][0]["transcript"]
            assert "My name is [hidden]" in said and "Walther" not in said, said
        gateway.assert_nothing_is_left()
        assert "Walther" not in gateway.process.output()
    judge.close()
    simulator.stop()
    logs = [path.read_text() for path in (tmp_path / "logs").iterdir()]
    assert logs and not any("Walther" in log for log in logs)


def test_a_set_of_rules_runs_where_a_policy_demands_it(tmp_path):
    keys = {team: f"vg_{team}_key_of_a_test_of_sets" for team in ("red", "blue")}
    teams = "".join(f"""
      {team}: {{ keys: {{ web: {{ hash: {hashlib.sha256(key.encode()).hexdigest()} }} }} }}""" for team, key in keys.items())
    rules = tmp_path / "policies.cedar"
    rules.write_text("""
        @id("all") permit (principal, action, resource);
        @id("red-is-watched") @guardrail("decency")
        permit (principal in Team::"acme/red", action == Action::"session.start", resource);
    """)
    config = f"""
policies: ['{rules}']
organisations:
  acme:
    teams:{teams}
guardrails:
  - {{ name: abuse, set: decency, on: [caller], words: [scoundrel], act: end }}
"""
    with running_gateway(config) as gateway:
        for team, key in keys.items():
            with connect(f"ws://{gateway.http}/v1/realtime?model=m", proxy=None, open_timeout=LIMIT,
                         additional_headers={"Authorization": f"Bearer {key}"}) as socket:
                client = Client(socket)
                client.write("You are a scoundrel.")
                if team == "red":
                    assert client.wait_for("error")["error"]["code"] == "content_policy_violation"
                else:
                    client.wait_for("conversation.item.done")
                    client.send(type="response.create")
                    assert client.wait_for("response.done")["response"]["status"] == "completed"
        assert matches(gateway, "abuse", "caller", "end") == 1
        gateway.assert_nothing_is_left()


async def cut_off(peer, gateway):
    """An answer is spoken at the speed of speech until its banned words come. From the moment the caller is told that it
    was taken back to the last sound of it, in milliseconds."""
    await peer.connect(gateway, model="sim")
    peer.ask_in_writing("Tell me.")
    await peer.answer_is_audible()
    await peer.event("output_audio_buffer.cleared")
    told_at = time.monotonic()
    # What is said instead comes a second later.
    while time.monotonic() - peer.last_audible < 0.3:
        assert time.monotonic() < told_at + LIMIT, "the answer never fell silent"
        await asyncio.sleep(0.02)
    done = await peer.event("response.done")
    assert done["response"]["status_details"]["reason"] == "content_filter"
    assert "number 1" not in "".join(event["delta"] for event in peer.all("response.output_audio_transcript.delta"))
    return (peer.last_audible - told_at) * 1_000


def test_banned_words_in_the_middle_of_an_answer_cut_it_off():
    """`VOXGATE_CUTS=20 python -m pytest test_guardrails.py -s -k cut_it_off` prints the figures of decision 021."""
    cuts = int(os.environ.get("VOXGATE_CUTS", "1"))
    words = "and " * 20 + "number {n} it is" + " and" * 20
    simulator, address = start_simulator("--answer-text", words, "--answer-ms", "4000", "--speed", "1",
                                         "--model-delay-ms", "1000")
    config = gateway_config(address) + f"""
guardrails: [{{ name: number, on: [agent], words: ["number 1"], act: replace, say: "{SORRY}" }}]
"""
    with running_gateway(config) as gateway:
        heard = [call(lambda peer: cut_off(peer, gateway)) for _ in range(cuts)]
        gateway.assert_nothing_is_left()
        stops = gateway.metric("voxgate_guardrail_stop_seconds_count")
        inside = gateway.metric("voxgate_guardrail_stop_seconds_sum") / stops * 1_000
    simulator.stop()
    assert stops == cuts
    print(f"\n{cuts} answers cut off: {inside:.2f} ms from the words to the answer taken back (mean), then "
          f"{statistics.median(heard):.0f} ms p50, {max(heard):.0f} ms at most to the last sound at the caller")
