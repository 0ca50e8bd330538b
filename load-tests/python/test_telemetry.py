"""What an OpenTelemetry collector gets of real calls: one trace each, the waterfall of every turn, the metrics, no words."""

import json
import socket

import pytest
from websockets.sync.client import connect

from conftest import HTTP, gateway_config, running_gateway, start_simulator
from otlp_collector import attributes, collecting
from webrtc_peer import call

LIMIT = 30
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAID = "what time is it"
HEADERS = "x-collector-key=secret%20of%20the%20collector"


def configuration(endpoint, sim=None, **otlp):
    more = "".join(f", {name}: {value}" for name, value in otlp.items())
    base = gateway_config(sim) if sim else ""
    return base + f"""
telemetry: {{ otlp: {{ endpoint: "{endpoint}", interval: 100ms, metrics_interval: 1s, headers_env: COLLECTOR{more} }} }}
"""


@pytest.fixture(scope="module")
def collected():
    """A gateway with a collector, and one call to it over WebRTC with an answered turn."""
    simulator, address = start_simulator()
    with collecting() as collector:
        with running_gateway(configuration(collector.endpoint, address), env={"COLLECTOR": HEADERS}) as gateway:
            yield gateway, collector
    simulator.stop()


def spoken_call(gateway, speak, model="local", headers=None):
    """A call with one spoken turn: its session's name, what the gateway measured, and the header of its answer."""
    async def scenario(peer):
        peer.headers = headers or {}
        await peer.connect(gateway, model=model)
        created, = peer.all("session.created")
        peer.say(speak(SAID))
        await peer.fallen_silent()
        await peer.until(peer.turns, "turn.measured")
        return created["session"]["id"], peer.turns(), peer.reply_headers["traceparent"]

    return call(scenario)


@pytest.fixture(scope="module")
def traced(collected, speak):
    gateway, collector = collected
    name, turns, traceparent = spoken_call(gateway, speak, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    return name, turns, traceparent, collector.whole_trace(TRACE)


def by_id(spans):
    found = {span.span_id: span for span in spans}
    assert len(found) == len(spans), "an id twice"
    return found


def milliseconds(span):
    return (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6


def test_a_call_is_one_trace_below_the_span_of_whoever_asked_for_it(traced):
    name, _, traceparent, spans = traced
    known = by_id(spans)
    root, = (span for span in spans if span.name == "session")
    assert root.parent_span_id.hex() == PARENT
    assert traceparent == f"00-{TRACE}-{root.span_id.hex()}-01"
    assert root.flags & 0x300 == 0x300, "its parent is of another process"
    for span in spans:
        assert span.trace_id.hex() == TRACE
        assert attributes(span)["session.id"] == name
        assert span is root or span.parent_span_id in known, span.name
        assert span.end_time_unix_nano >= span.start_time_unix_nano
    of_root = attributes(root)
    assert of_root["voxgate.end_reason"] in ("client_closed", "client_lost")
    assert of_root["openinference.span.kind"] == "AGENT"
    assert of_root["gen_ai.operation.name"] == "invoke_agent"
    assert of_root["voxgate.transport"] == "webrtc"


def test_the_hops_of_a_turn_lie_within_it_and_take_as_long_as_its_client_was_told(traced):
    _, turns, _, spans = traced
    told = {turn["turn"]: turn for turn in turns}
    for span in (span for span in spans if span.name == "turn"):
        turn = attributes(span)["voxgate.turn"]
        hops = [child for child in spans if child.parent_span_id == span.span_id]
        if turn not in told:
            continue
        waterfall = told.pop(turn)
        # The client is told whole microseconds of each of 17 hops at most.
        assert milliseconds(span) == pytest.approx(waterfall["mouth_to_ear_ms"], abs=0.017)
        assert {attributes(hop)["voxgate.turn"] for hop in hops} == {turn}
        waited = {}
        for hop in hops:
            assert span.start_time_unix_nano <= hop.start_time_unix_nano
            assert hop.end_time_unix_nano <= span.end_time_unix_nano
            of_hop = attributes(hop)
            if not of_hop["voxgate.overlapped"]:
                waited[of_hop["voxgate.hop"]] = waited.get(of_hop["voxgate.hop"], 0) + milliseconds(hop)
        expected = {hop["hop"]: hop["duration_ms"] for hop in waterfall["hops"] if hop["hop"] != "unattributed"}
        assert {hop: time for hop, time in waited.items() if time > 0.002} == pytest.approx(
            {hop: time for hop, time in expected.items() if time > 0.002}, abs=0.002)
        assert "model" in waited and "endpointing" in waited
    assert told == {}, "every measured turn is in the trace"


def test_the_model_carries_the_names_of_both_conventions(traced):
    spans = traced[-1]
    models = [attributes(span) for span in spans if attributes(span).get("voxgate.hop") == "model"]
    assert models
    for of_model in models:
        assert of_model["gen_ai.operation.name"] == "chat"
        assert of_model["gen_ai.provider.name"] == of_model.get("llm.provider", "local")
        assert of_model["openinference.span.kind"] == "LLM"
        assert of_model["voxgate.owner"] == "provider"
    kinds = {attributes(span)["openinference.span.kind"] for span in spans}
    assert kinds <= {"AGENT", "LLM", "CHAIN", "GUARDRAIL", "TOOL"}


def test_nothing_that_was_said_reaches_the_collector_and_its_key_is_sent(collected, traced):
    gateway, collector = collected
    wire = b"".join(plain for _, _, plain, _ in collector.requests)
    for secret in (SAID, "o'clock", gateway.key, "vg_", "secret of", "127.0.0.1"):
        assert secret.encode() not in wire, secret
    for _, headers, _, _ in collector.requests:
        assert headers["x-collector-key"] == "secret of the collector"
        assert headers["Content-Encoding"] == "gzip"


def test_the_metrics_of_the_page_are_pushed_under_the_same_names(collected, traced):
    gateway, collector = collected
    shown = {line.split()[2] for line in HTTP.get(f"http://{gateway.http}/metrics", timeout=30).text.splitlines()
             if line.startswith("# TYPE ")}
    collector.wait_for(lambda: shown <= collector.metrics().keys(), "a push with every metric")
    turns = collector.metrics()["voxgate_turn_seconds"]
    assert turns.unit == "s" and turns.histogram.aggregation_temporality == 2
    point, = turns.histogram.data_points
    assert attributes(point) == {"route": "*"}
    assert sum(point.bucket_counts) == point.count >= 1
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    started = collector.metrics()["voxgate_sessions_started_total"]
    assert started.sum.is_monotonic
    total = {attributes(point)["leg"]: point.as_double for point in started.sum.data_points}
    assert total["webrtc"] == gateway.metric("voxgate_sessions_started_total", leg="webrtc")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def written_call(gateway):
    """A WebSocket session with an answer, and the trace it is in."""
    with connect(f"ws://{gateway.http}/v1/realtime?model=local", proxy=None, open_timeout=LIMIT,
                 additional_headers={"Authorization": f"Bearer {gateway.key}"}) as client:
        trace = client.response.headers["traceparent"].split("-")[1]
        for event in (
            {"type": "conversation.item.create", "item": {
                "type": "message", "role": "user", "content": [{"type": "input_text", "text": SAID}]}},
            {"type": "response.create"},
        ):
            client.send(json.dumps(event))
        while (event := json.loads(client.recv(timeout=LIMIT)))["type"] != "response.done":
            assert event["type"] != "error", event
        assert event["response"]["status"] == "completed"
    return trace


def root_of(spans):
    root, = (span for span in spans if span.name == "session")
    return root


def test_a_collector_that_is_away_costs_spans_and_no_call_and_gets_what_comes_when_it_is_back():
    port = free_port()
    config = configuration(f"http://127.0.0.1:{port}", retry="0s")
    with running_gateway(config, env={"COLLECTOR": HEADERS}) as gateway:
        written_call(gateway)
        gateway.wait_for_metric_above(0, "voxgate_otlp_spans_total", outcome="unreachable")
        assert gateway.metric("voxgate_otlp_spans_total", outcome="sent") == 0
        with collecting(port) as collector:
            root = root_of(collector.whole_trace(written_call(gateway)))
            assert attributes(root)["voxgate.transport"] == "websocket"
            assert root.parent_span_id == b""
            gateway.wait_for_metric(len(collector.spans()), "voxgate_otlp_spans_total", outcome="sent")


def test_spans_that_a_busy_collector_refuses_for_now_are_sent_again():
    with collecting() as collector:
        collector.status = 503
        with running_gateway(configuration(collector.endpoint), env={"COLLECTOR": HEADERS}) as gateway:
            trace = written_call(gateway)
            collector.wait_for(lambda: collector.refused, "a request that was refused")
            collector.status = 200
            by_id(collector.whole_trace(trace))
            assert gateway.metric("voxgate_otlp_spans_total", outcome="unreachable") == 0


def test_what_is_left_is_sent_when_the_gateway_stops():
    with collecting() as collector:
        config = configuration(collector.endpoint).replace("100ms", "1m").replace("metrics_interval: 1s", "metrics_interval: 1h")
        with running_gateway(config, env={"COLLECTOR": HEADERS}) as gateway:
            trace = written_call(gateway)
            gateway.wait_for_metric(0, "voxgate_sessions")
            assert collector.requests == []
        root_of(collector.whole_trace(trace))
        assert "voxgate_sessions" in collector.metrics()


def test_the_standard_variables_are_enough():
    with collecting() as collector:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_SERVICE_NAME": "voice",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        }
        with running_gateway("", env=environment) as gateway:
            trace = written_call(gateway)
        collector.whole_trace(trace)
        (path, headers, _, message), = collector.requests
        assert path == "/v1/traces" and headers["Content-Encoding"] is None
        of_service = attributes(message.resource_spans[0].resource)
        assert of_service["service.name"] == of_service["openinference.project.name"] == "voice"
        assert of_service["deployment.environment.name"] == "test"
