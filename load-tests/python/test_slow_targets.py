"""A target that is slow, not broken: sessions are served by another from the next turn on, and optional work is left out."""

import asyncio
import contextlib
import http.server
import json
import re
import threading
import time

import pytest

from conftest import running_gateway, start_simulator
from test_failover import PATIENT, config, failovers, state
from test_rotation import LIMIT, session
from test_session_records import look
from webrtc_peer import call

SLOW_MS = 4_000
# What a target that is well stays within on the busiest machine, and the slow one cannot. One slow turn is enough.
BUDGETS = "{ whole: 3500ms, hops: { model: 3s, endpointing: 3s } }"
# Every turn breaks these two, and nothing else is looked at.
HOPS = ("capture", "uplink", "relay_in", "jitter", "endpointing", "policy", "model", "pacing", "decode", "relay_out", "downlink", "playout")
IMPOSSIBLE = "{ whole: 1ms, hops: { encode: 1us, " + ", ".join(f"{hop}: 0ms" for hop in HOPS) + " } }"


def simulator(name, model_delay_ms):
    """One that says its name and nothing else, so that judges are asked once about an answer."""
    return start_simulator("--answer-text", name, "--answer-ms", "400", "--model-delay-ms", str(model_delay_ms))


@contextlib.contextmanager
def gateway_with(actions, budgets=BUDGETS, more="", slow_ms=SLOW_MS):
    """A gateway whose first target is slow."""
    targets = [simulator("first", slow_ms), simulator("second", 20)]
    latency = f"latency: {{ turns: 1, speech_to_speech: {budgets}, actions: {actions} }}\n"
    try:
        with running_gateway(config([address for _, address in targets], "{}", PATIENT) + latency + more) as gateway:
            yield gateway
            gateway.assert_nothing_is_left()
    finally:
        for process, _ in targets:
            process.child.kill()
            process.child.wait()


def two_turns(gateway, question, between=lambda: None):
    """Who answers a caller that asks the same twice; `between` waits for what has to happen after the first turn."""
    async def scenario(peer):
        await peer.connect(gateway, model="sim")
        peer.say(question)
        await peer.until(lambda: peer.measured, "turn.measured")
        await peer.event("output_audio_buffer.stopped")
        await asyncio.to_thread(between)
        peer.say(question)
        await peer.event("output_audio_buffer.stopped")
        return peer

    peer = call(scenario)
    assert peer.all("error") == []
    return [event["transcript"].split()[0] for event in peer.all("response.output_audio_transcript.done")]


def advised(gateway, action, target="", subject="model", owner="provider"):
    labels = {"action": action, "owner": owner, "route": "sim*", "subject": subject, "target": target}
    return gateway.metric("voxgate_latency_advice", **labels)


def test_after_a_slow_turn_the_next_one_is_served_by_another_target(speak):
    began = time.time()
    with gateway_with("{ prefer_another: next_turn }") as gateway:
        def moved():
            gateway.wait_for_metric(1, "voxgate_routing_failovers_total", outcome="moved", reason="slow")

        assert two_turns(gateway, speak("what time is it"), between=moved) == ["first", "second"]
        assert advised(gateway, "prefer_another", target="first") == 1
        breaches = gateway.metric("voxgate_latency_target_breaches_total", target="first", subject="model", spender="model")
        assert (breaches, gateway.metric("voxgate_target_turn_seconds_count", target="second")) == (1, 1)
        # It is slow, not broken; and calls that begin are led past it.
        assert state(gateway, "first") == "closed"
        with session(gateway) as client:
            assert client.answer()[0] == "second"
        assert "turns are too slow" in gateway.process.output()
        told = look(gateway, "/latency")
        route, = (route for route in told["routes"] if route["route"] == "sim*")
        advice, = (one for one in route["advice"] if one["action"] == "prefer_another" and one["subject"] == "model")
        assert (told["prefer_another"], route["passed_over"], advice["target"]) == ("next_turn", ["first"], "first")
        # Five minutes by default.
        assert advice["until_at"] - advice["since_at"] == pytest.approx(300) and began <= advice["since_at"] <= time.time()
        move, = gateway.events("failover")
        assert move["text"] == ("Moved from first to second: first has been over its budget of 3000 ms for model "
                                "in 1 of 1 turns of the last hour.")
        assert move["detail"] == {
            "reason": "slow", "from": "first", "to": "second", "provider": "second", "region": "second-land",
            "waited_ms": None, "subject": "model", "budget_ms": 3_000, "breaches": 1, "turns": 1}


def test_calls_that_run_stay_where_they_are_if_only_new_ones_are_to_leave(speak):
    with gateway_with("{ prefer_another: new_calls }") as gateway:
        assert two_turns(gateway, speak("what time is it")) == ["first", "first"]
        with session(gateway) as client:
            assert client.answer()[0] == "second"
        assert failovers(gateway, "slow") == 0


def test_by_default_a_slow_target_is_told_and_nobody_is_moved(speak):
    with gateway_with("{}") as gateway:
        assert two_turns(gateway, speak("what time is it")) == ["first", "first"]
        with session(gateway) as client:
            assert client.answer()[0] == "first"
        assert (advised(gateway, "prefer_another", target="first"), advised(gateway, "alert")) == (1, 1)
        assert failovers(gateway, "slow") == 0


class Judges:
    """Two judges of the agent's words, one of which has to be asked. Counts the questions by rule."""

    def __init__(self):
        asked = self.asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                asked.append(json.loads(body)["rule"])
                self.send_response(200)
                self.send_header("content-length", "15")
                self.end_headers()
                self.wfile.write(b'{"act": "pass"}')

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def guardrails(self):
        url = f"http://127.0.0.1:{self.server.server_port}/"
        return (f"guardrails:\n"
                f"  - {{ name: optional, on: [agent], webhook: {{ url: '{url}', deadline: 10s }} }}\n"
                f"  - {{ name: demanded, on: [agent], webhook: {{ url: '{url}', deadline: 10s, fail: closed }}, act: end }}\n")


def opinions(gateway):
    """Optional opinions that were given, and those left out."""
    answered = gateway.metric("voxgate_guardrail_webhooks_total", outcome="answered", rule="optional")
    return answered, gateway.metric("voxgate_latency_shed_total", route="sim*", work="opinion")


@pytest.mark.parametrize("sheds", [True, False])
def test_optional_judges_are_not_asked_while_the_gateway_is_too_slow_and_the_others_are(speak, sheds):
    judges = Judges()
    actions = f"{{ shed_optional: {str(sheds).lower()} }}"
    with gateway_with(actions, budgets=IMPOSSIBLE, more=judges.guardrails(), slow_ms=20) as gateway:
        before = []

        def between():
            # The words of the first answer may have been complete before its turn was measured, or after.
            until = time.monotonic() + LIMIT
            while sum(opinions(gateway)) < 1:
                assert time.monotonic() < until
                time.sleep(0.05)
            before.extend(judges.asked)
            assert advised(gateway, "shed_optional", subject="encode", owner="gateway") == 1

        two_turns(gateway, speak("what time is it"), between)
        gateway.wait_for_metric(2, "voxgate_guardrail_webhooks_total", outcome="answered", rule="demanded")
        # Each is counted when its own answer is there.
        until = time.monotonic() + LIMIT
        while sum(opinions(gateway)) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        answered, shed = opinions(gateway)
        left_out = gateway.events("shed")
    judges.server.shutdown()
    since = judges.asked[len(before):]
    assert judges.asked.count("demanded") == 2
    assert ("optional" in since) != sheds, (before, since)
    assert (shed >= 1) == sheds and answered + shed == 2
    assert [event["detail"]["rule"] for event in left_out] == (["optional"] if sheds else [])
    for event in left_out:
        assert event["severity"] == "warning"
        assert re.fullmatch(r"Left out, since encode has been over its budget of 0\.001 ms in [12] of [12] turns of the "
                            r"last hour: the guardrail optional is not asked\.", event["text"]), event
