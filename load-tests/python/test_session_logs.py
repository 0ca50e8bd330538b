"""What a log collector gets of calls: one JSON object a line, the session and its trace on every one, and no secrets."""

import json
import re

import pytest
from websockets.sync.client import connect

from conftest import gateway_config, running_gateway, start_simulator
from webrtc_peer import call

LIMIT = 120
SAID = "what time is it"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-01")
# Who speaks for the process, not for a session.
OF_THE_PROCESS = ("voxgate_relay::", "voxgate_gateway::revision", "voxgate_gateway::transceiver::switchboard::relays")


@pytest.fixture(scope="module")
def logged():
    simulator, address = start_simulator()
    environment = {"VOXGATE_LOG_FORMAT": "json", "VOXGATE_LOG": "warn,rtc_dtls=error,voxgate=debug"}
    with running_gateway(gateway_config(address), env=environment) as running:
        yield running
        running.assert_nothing_is_left()
    simulator.stop()


def lines(gateway):
    """The log lines so far. What is not JSON is what the gateway says to a person on standard output."""
    return [json.loads(line) for line in gateway.process.output().splitlines() if line.startswith("{")]


def of_session(gateway, name):
    """The lines of a session that is over."""
    gateway.process.wait_for(rf'"message":"a session ended".*"session":"{name}"')
    gateway.wait_for_metric(0, "voxgate_sessions")
    return [line for line in lines(gateway) if line.get("session") == name]


@pytest.fixture(scope="module")
def spoken(logged, speak):
    """A call with one spoken turn: its name, the header of its answer, the lines of it, and what was measured."""
    async def scenario(peer):
        peer.headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
        await peer.connect(logged, model="local")
        created, = peer.all("session.created")
        peer.say(speak(SAID))
        await peer.fallen_silent()
        await peer.until(peer.turns, "turn.measured")
        return created["session"]["id"], peer.reply_headers["traceparent"], peer.turns()[0]

    name, traceparent, measured = call(scenario)
    return name, traceparent, of_session(logged, name), measured


def test_every_line_of_a_call_carries_its_session_and_the_trace_of_whoever_asked_for_it(logged, spoken):
    name, traceparent, mine, _ = spoken
    trace, span = TRACEPARENT.fullmatch(traceparent).groups()
    assert trace == TRACE and span != SPAN
    assert {(line["trace_id"], line["span_id"]) for line in mine} == {(trace, span)}
    assert {"a session begins", "call answered", "a turn was measured", "a session ended"} <= {
        line["message"] for line in mine}
    for line in mine:
        assert {"timestamp", "level", "target", "message"} <= line.keys()
    strangers = [line for line in lines(logged)
                 if "session" not in line and not line["target"].startswith(OF_THE_PROCESS)]
    assert strangers == []


def test_a_session_ends_with_one_line_of_all_its_figures(spoken):
    _, _, mine, measured = spoken
    last, = (line for line in mine if line["message"] == "a session ended")
    assert last["reason"] in ("client_closed", "client_lost")
    assert last["turns"] == 1 and last["served_by"] == "local" and last["transport"] == "webrtc"
    assert last["mouth_to_ear_p50_ms"] == pytest.approx(measured["mouth_to_ear_ms"], abs=0.05)
    assert last["duration_ms"] > last["mouth_to_ear_p95_ms"]
    assert isinstance(last["breaches"], int) and isinstance(last["interruptions"], int)
    turn, = (line for line in mine if line["message"] == "a turn was measured")
    assert turn["turn"] == 1
    assert turn["mouth_to_ear_ms"] == pytest.approx(measured["mouth_to_ear_ms"], abs=0.05)


def test_no_line_of_a_session_shows_words_keys_or_addresses(logged, spoken):
    text = "\n".join(json.dumps(line) for line in spoken[2])
    for secret in (SAID, "o'clock", logged.key, "127.0.0.1", "a=candidate", "vg_"):
        assert secret not in text, secret


def test_sessions_over_a_websocket_have_traces_of_their_own_and_a_refused_header_counts_as_none(logged):
    names = {}
    for asked in (None, "00-not-a-trace-01"):
        headers = {"Authorization": f"Bearer {logged.key}", **({"traceparent": asked} if asked else {})}
        with connect(f"ws://{logged.http}/v1/realtime?model=sim", proxy=None, open_timeout=LIMIT,
                     additional_headers=headers) as client:
            trace, _ = TRACEPARENT.fullmatch(client.response.headers["traceparent"]).groups()
            names[json.loads(client.recv(timeout=LIMIT))["session"]["id"]] = trace
    assert len(set(names.values())) == 2
    for name, trace in names.items():
        mine = of_session(logged, name)
        assert {line["trace_id"] for line in mine} == {trace}
        assert {"a session begins", "a session ended"} <= {line["message"] for line in mine}


def test_a_page_of_any_origin_may_send_its_trace_and_read_the_sessions(logged):
    preflight = logged.ask("OPTIONS", "/v1/realtime/calls", headers={
        "Origin": "https://app.example", "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,traceparent"})
    assert "traceparent" in preflight.headers["Access-Control-Allow-Headers"]
    reply = logged.ask("POST", "/v1/realtime/calls", headers={"Origin": "https://app.example"}, data="")
    assert "traceparent" in reply.headers["Access-Control-Expose-Headers"]
