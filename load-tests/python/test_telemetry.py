"""What an OpenTelemetry collector gets of real calls: one trace each, the waterfall of every turn, the metrics, no words."""

import asyncio
import json
import re
import signal
import socket

import pytest
from websockets.sync.client import connect

from conftest import HTTP, TARGET, Process, gateway_config, picked_port, running_gateway, start_simulator
from otlp_collector import attributes, collecting
from webrtc_peer import call

LIMIT = 120
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
        # A hop of a microsecond may be no span at all.
        names = {*waited, *expected}
        assert {hop: waited.get(hop, 0) for hop in names} == pytest.approx(
            {hop: expected.get(hop, 0) for hop in names}, abs=0.003)
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
    for secret in (SAID, "o'clock", gateway.key, "secret of", "127.0.0.1"):
        assert secret.encode() not in wire, secret
    # Short enough to be in a number by chance.
    assert not re.search(rb"vg_\w{8}", wire)
    for _, headers, _, _ in collector.requests:
        assert headers["x-collector-key"] == "secret of the collector"
        assert headers["Content-Encoding"] == "gzip"


def test_the_metrics_of_the_page_are_pushed_under_the_same_names(collected, traced):
    gateway, collector = collected
    shown = {line.split()[2] for line in HTTP.get(f"http://{gateway.http}/metrics", timeout=LIMIT).text.splitlines()
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


def histogram(collector, name):
    """The points of a histogram, by their attributes."""
    metric = collector.metrics()[name]
    assert metric.histogram.aggregation_temporality == 2
    return metric, {tuple(sorted(attributes(point).items())): point for point in metric.histogram.data_points}


def test_answers_are_told_in_the_words_of_the_conventions(collected, traced):
    gateway, collector = collected
    written_call(gateway, model="sim")
    answered = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "sim", "gen_ai.request.model": "sim"}
    usage = "gen_ai.client.token.usage"
    of_kind = lambda kind: tuple(sorted({**answered, "gen_ai.token.type": kind}.items()))
    collector.wait_for(lambda: usage in collector.metrics() and of_kind("output") in histogram(collector, usage)[1],
                       "the tokens of an answer")
    metric, points = histogram(collector, usage)
    assert metric.unit == "{token}"
    for kind in ("input", "output"):
        point = points[of_kind(kind)]
        assert (point.count, list(point.explicit_bounds)) == (1, [4 ** power for power in range(14)])
        assert point.sum > 0
    times = {}
    for name in ("gen_ai.client.operation.duration", "gen_ai.client.operation.time_to_first_chunk"):
        metric, points = histogram(collector, name)
        assert metric.unit == "s"
        point = points[tuple(sorted(answered.items()))]
        assert list(point.explicit_bounds) == [0.01 * 2 ** power for power in range(14)]
        assert sum(point.bucket_counts) == point.count == 1
        times[name] = point.sum
    # The simulator thinks for 200 ms, then speaks for some time.
    duration, first = times.values()
    assert 0.2 <= first < duration


def test_a_relay_of_its_own_pushes_its_metrics(tmp_path):
    with collecting() as collector:
        file = tmp_path / "relay.yaml"
        file.write_text(f"""
data_dir: {tmp_path / "data"}
relay:
  id: 7
  listen: 127.0.0.1:0
  operations: 127.0.0.1:{picked_port(socket.SOCK_STREAM)}
  control: http://127.0.0.1:9
  threads: 1
  pin: false
telemetry: {{ otlp: {{ endpoint: "{collector.endpoint}", metrics_interval: 1s }} }}
""")
        relay = Process(TARGET / "voxgate", "relay", "--config", file, env={"VOXGATE_RELAY_TOKEN": "a-token-of-at-least-16"})
        try:
            relay.wait_for("Stop with Ctrl-C")
            collector.wait_for(lambda: "voxgate_otlp_requests_total" in collector.metrics(), "the second push")
            threads, = collector.metrics()["voxgate_relay_threads"].gauge.data_points
            assert threads.as_double == 1
            pushes = len(collector.requests)
        finally:
            assert relay.stop() == 0, relay.output()
        # What happened since the last one is pushed at the end.
        assert len(collector.requests) > pushes
        assert {path for path, *_ in collector.requests} == {"/v1/metrics"}
        of_service = attributes(collector.requests[-1][3].resource_metrics[0].resource)
        assert of_service["service.name"] == "voxgate-relay"


def written_call(gateway, model="local"):
    """A WebSocket session with an answer, and the trace it is in."""
    with connect(f"ws://{gateway.http}/v1/realtime?model={model}", proxy=None, open_timeout=LIMIT,
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
    # Bound and not listening yet: a port nobody else can take, which refuses every connection.
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    config = configuration(f"http://127.0.0.1:{taken.getsockname()[1]}", retry="0s")
    with running_gateway(config, env={"COLLECTOR": HEADERS}) as gateway:
        written_call(gateway)
        gateway.wait_for_metric_above(0, "voxgate_otlp_spans_total", outcome="unreachable")
        assert gateway.metric("voxgate_otlp_spans_total", outcome="sent") == 0
        with collecting(taken) as collector:
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


def eventful_configuration(collector, targets):
    providers = "".join(f'  {name}: {{ kind: openai-realtime, base_url: "http://{address}/v1" }}\n' for name, address in targets)
    routed = "".join(f"      - {{ provider: {name}, priority: {at} }}\n" for at, (name, _) in enumerate(targets))
    return f"""
providers:
{providers}
routes:
  - model: "sim*"
    switch: {{ attempt: 20s, budget: 40s, silence: 20s }}
    targets:
{routed}
agents:
  "*":
    while_waiting: One moment please.
    tools: {{ look: {{ risk: read_only }}, refund: {{ risk: dangerous }} }}
telemetry: {{ otlp: {{ endpoint: "{collector.endpoint}", interval: 100ms, metrics: false }} }}
"""


async def ask_for(peer, tool):
    """Has the model call a tool, as soon as it may; the call."""
    peer.ask_in_writing(f"Please {tool}.")
    return await peer.event("response.function_call_arguments.done")


def give(peer, call, output):
    peer.send({"type": "conversation.item.create", "item": {
        "type": "function_call_output", "call_id": call["call_id"], "output": output}})
    peer.send({"type": "response.create"})


async def heard(peer, answers):
    """So many answers were heard to their end."""
    await peer.until(lambda: len(peer.all("output_audio_buffer.stopped")) == answers, f"{answers} answers")


async def approved(gateway):
    """Lets the one call that waits for a person go on."""
    async with asyncio.timeout(LIMIT):
        while not (held := (await asyncio.to_thread(gateway.ask, "GET", "/admin/v1/approvals")).json()["items"]):
            await asyncio.sleep(0.05)
    answer = await asyncio.to_thread(gateway.ask, "POST", f"/admin/v1/approvals/{held[0]['id']}/approve")
    assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def eventful(speak):
    """The trace and the record of a call with a tool call, one that a person had to approve, and a target that died."""
    question = speak(SAID)
    simulators = [start_simulator("--answer-text", name, "--answer-ms", "400") for name in ("first", "second")]
    targets = [(name, address) for name, (_, address) in zip(("first", "second"), simulators)]
    with collecting() as collector, running_gateway(eventful_configuration(collector, targets)) as gateway:
        async def scenario(peer):
            tools = [{"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}}
                     for name in ("look", "refund")]
            await peer.connect(gateway, session={"type": "realtime", "model": "sim", "tools": tools})
            peer.say(question)
            await peer.until(lambda: len(peer.turns()) == 1, "the first turn")
            await heard(peer, 1)
            give(peer, await ask_for(peer, "look"), "a secret view")
            await heard(peer, 2)
            asking = asyncio.create_task(ask_for(peer, "refund"))
            await approved(gateway)
            give(peer, await asking, "a secret sum")
            # Besides the answer, what the caller was told while a person decided.
            await heard(peer, 4)
            simulators[0][0].stop(signal.SIGKILL)
            peer.say(question)
            await peer.until(lambda: len(peer.turns()) == 2, "the second turn")
            assert peer.all("error") == []
            return peer.reply_headers["traceparent"].split("-")[1]

        trace = call(scenario)
        spans = collector.whole_trace(trace)
        events = gateway.events("tool_call", "approval", "failover", "retry")
    simulators[1][0].stop()
    return spans, events


def named(spans, name):
    return [span for span in spans if span.name == name]


def happened(spans, name):
    return [(span, event) for span in spans for event in span.events if event.name == name]


def test_a_tool_call_is_a_span_from_the_models_call_to_the_clients_answer(eventful):
    spans, events = eventful
    root = root_of(spans)
    told = [event for event in events if event["kind"] == "tool_call"]
    assert [event["detail"]["tool"] for event in told] == ["look", "refund"]
    for event in told:
        span, = named(spans, f"execute_tool {event['detail']['tool']}")
        of_call = attributes(span)
        assert of_call["openinference.span.kind"] == "TOOL"
        assert (of_call["gen_ai.operation.name"], of_call["gen_ai.tool.name"]) == ("execute_tool", event["detail"]["tool"])
        # A record has fractions of milliseconds.
        assert milliseconds(span) == pytest.approx(event["detail"]["until_ms"] - event["at_ms"], abs=0.01)
        assert span.parent_span_id in {root.span_id, *(turn.span_id for turn in named(spans, "turn"))}


def test_a_call_that_waits_for_a_person_is_a_span_until_somebody_decides(eventful):
    spans, events = eventful
    asked, decided = [event for event in events if event["kind"] == "approval"]
    wait, = named(spans, "approval refund")
    assert attributes(wait)["openinference.span.kind"] == "GUARDRAIL"
    assert milliseconds(wait) == pytest.approx(decided["at_ms"] - asked["at_ms"], abs=1)
    use, = named(spans, "execute_tool refund")
    assert use.start_time_unix_nano >= wait.end_time_unix_nano, "nobody has the call before"
    states = [attributes(event).get("voxgate.state") for _, event in happened(spans, "approval")]
    assert sorted(states, key=str) == [None, "approved"]


def test_a_target_that_dies_in_a_call_is_an_event_and_its_turns_say_who_served_them(eventful):
    spans, events = eventful
    (_, move), = happened(spans, "failover")
    of_move = attributes(move)
    assert (of_move["voxgate.from"], of_move["voxgate.to"], of_move["voxgate.reason"]) == ("first", "second", "lost")
    told, = [event for event in events if event["kind"] == "failover"]
    assert of_move["voxgate.waited_ms"] == told["detail"]["waited_ms"]
    assert told["text"].startswith("Moved from first to second, after "), told
    turns = sorted(named(spans, "turn"), key=lambda span: span.start_time_unix_nano)
    served = []
    for turn in turns:
        models = [span for span in spans if span.parent_span_id == turn.span_id and span.name.startswith("chat ")]
        served.append({attributes(span)["gen_ai.provider.name"] for span in models})
    assert served == [{"first"}, {"second"}]


def test_nothing_a_tool_gave_or_took_is_in_the_trace(eventful):
    spans, events = eventful
    for text in (str(spans), json.dumps(events)):
        assert "secret" not in text and "arguments" not in text
