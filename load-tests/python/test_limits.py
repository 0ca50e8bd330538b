"""Limits of sessions, starts, audio, answers, tool calls and tokens: refused with the right words before and during a call."""

import base64
import contextlib
import json
import time

import numpy
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from conftest import gateway_config, running_gateway, start_simulator
from database_servers import Redis
from webrtc_peer import call

LIMIT = 120
RATE = 24_000


@contextlib.contextmanager
def limited(*rules, redis="", env=None, simulator=()):
    process, address = start_simulator("--answer-ms", "200", *simulator)
    limits = "".join(f"\n    - {rule}" for rule in rules)
    try:
        with running_gateway(gateway_config(address) + f"limits:\n  rules:{limits}\n{redis}", env=env) as gateway:
            yield gateway
    finally:
        process.stop()


class Session:
    """One session over a WebSocket."""

    def __init__(self, gateway, model="sim", key=None):
        self.socket = connect(
            f"ws://{gateway.http}/v1/realtime?model={model}",
            additional_headers={"Authorization": f"Bearer {key or gateway.key}"},
            open_timeout=LIMIT,
            proxy=None,
        )
        self.event("session.created")

    def send(self, kind, **fields):
        self.socket.send(json.dumps({"type": kind, **fields}))

    def events(self):
        """What comes, as it comes."""
        while True:
            yield json.loads(self.socket.recv(LIMIT))

    def event(self, *kinds):
        return next(event for event in self.events() if event["type"] in kinds)

    def answer(self, **response):
        """The `response.done` of an answer, or the error that stands for it."""
        self.send("response.create", response=response)
        return self.event("response.done", "error")

    def update(self, **session):
        self.send("session.update", session={"type": "realtime", **session})
        return self.event("session.updated")

    def close(self):
        self.socket.close()


def refusal(gateway, key=None):
    """The answer to somebody who may not begin."""
    with pytest.raises(InvalidStatus) as refused:
        Session(gateway, key=key)
    return refused.value.response


def assert_is_refused(event):
    assert event["type"] == "error", event
    error = event["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded"), error
    return error["message"]


def test_a_key_with_enough_sessions_is_told_to_end_one_over_both_transports():
    with limited("{ each: key, sessions: 2 }") as gateway:
        first, second = Session(gateway), Session(gateway)
        response = refusal(gateway)
        assert response.status_code == 429 and int(response.headers["Retry-After"]) >= 1
        error = json.loads(response.body)["error"]
        assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        assert error["message"] == (
            "The limit of concurrent sessions of default/default/default is reached; end a session first.")

        async def scenario(peer):
            offer = await peer.offer()
            headers = {"Content-Type": "application/sdp"}
            refused = gateway.ask("POST", "/v1/realtime/calls?model=sim", data=offer, headers=headers)
            assert refused.status_code == 429 and int(refused.headers["Retry-After"]) >= 1
            assert refused.json()["error"]["code"] == "rate_limit_exceeded"
            first.close()
            gateway.wait_for_metric(1, "voxgate_sessions")
            await peer.connect(gateway, model="sim")

        call(scenario)
        second.close()
        gateway.assert_nothing_is_left()
        assert gateway.metric("voxgate_sessions_refused_total", code="rate_limit_exceeded") == 2


def test_a_client_secret_is_under_the_limits_of_the_key_that_made_it():
    with limited("{ each: team, sessions: 1, responses_per_minute: 1 }") as gateway:
        def secret():
            body = {"session": {"type": "realtime", "model": "sim"}}
            return gateway.ask("POST", "/v1/realtime/client_secrets", json=body).json()["value"]

        session = Session(gateway, key=secret())
        assert refusal(gateway).status_code == 429, "the key finds its place taken"
        assert refusal(gateway, key=secret()).status_code == 429, "so does another secret"
        assert session.answer()["response"]["status"] == "completed"
        assert_is_refused(session.answer())
        session.close()
        gateway.wait_for_metric(0, "voxgate_sessions")
        again = Session(gateway)
        assert_is_refused(again.answer())
        again.close()
        gateway.assert_nothing_is_left()


def test_sessions_begin_no_faster_than_the_limit_and_only_those_it_is_for():
    with limited("{ model: sim-slow, session_starts_per_second: 1 }") as gateway:
        answers = []
        for _ in range(40):
            try:
                Session(gateway, "sim-slow").close()
            except InvalidStatus as refused:
                answers.append(refused.response)
                break
        assert answers and answers[0].status_code == 429 and answers[0].headers["Retry-After"] == "1"
        assert "session starts per second with model sim-slow" in json.loads(answers[0].body)["error"]["message"]
        for _ in range(5):
            Session(gateway).close()


def test_an_answer_over_the_limit_is_refused_and_the_call_goes_on():
    with limited("{ responses_per_minute: 2 }") as gateway:
        session = Session(gateway)
        for _ in range(2):
            assert session.answer()["response"]["status"] == "completed"
        message = assert_is_refused(session.answer())
        assert message.startswith("The limit of responses per minute is reached; try again in "), message
        session.update(instructions="x")
        other = Session(gateway)
        assert_is_refused(other.answer())
        assert gateway.metric("voxgate_limits_reached_total", resource="responses") == 2
        session.close()
        other.close()
        events = gateway.events("limit", "error")
        assert [(event["severity"], event["detail"]["limit"]) for event in events] == 2 * [("warning", "responses")]
        for event in events:
            assert event["text"].startswith("The limit of responses per minute is reached: an answer is refused; "), event


def speech(seconds):
    tone = (numpy.sin(numpy.arange(int(RATE * seconds)) * 0.1) * 12_000).astype("<i2")
    return base64.b64encode(tone.tobytes()).decode()


def silence(seconds):
    return base64.b64encode(bytes(int(RATE * seconds) * 2)).decode()


def test_an_answer_the_provider_begins_by_itself_is_cancelled_over_the_limit():
    with limited("{ responses_per_minute: 1 }", simulator=("--speed", "1")) as gateway:
        session = Session(gateway)
        for number in range(2):
            session.send("input_audio_buffer.append", audio=speech(0.6))
            session.send("input_audio_buffer.append", audio=silence(1.5))
            if number == 1:
                assert_is_refused(session.event("error"))
            done = session.event("response.done")
            assert done["response"]["status"] == ("completed", "cancelled")[number], done
        session.close()


# One provider is done before it can be told to stop, the other has not finished the call by then.
@pytest.mark.parametrize("speed", ["1000", "0.1"])
def test_a_tool_call_over_the_limit_is_kept_from_the_client_and_cancels_its_answer(speed):
    with limited("{ tool_calls_per_minute: 1 }", simulator=("--speed", speed)) as gateway:
        session = Session(gateway)
        tool = {"type": "function", "name": "look_up", "parameters": {"type": "object", "properties": {}}}
        session.update(tools=[tool])
        demanded = {"tool_choice": {"type": "function", "name": "look_up"}}
        first = session.answer(**demanded)
        assert [item["type"] for item in first["response"]["output"]] == ["function_call"], first
        second = session.answer(**demanded)
        assert "tool calls per minute" in assert_is_refused(second)
        seen = []
        for event in session.events():
            seen.append(event)
            if event["type"] == "response.done":
                break
        assert "function_call" not in json.dumps(seen), seen
        done = seen[-1]["response"]
        assert done["status"] == "cancelled", done
        session.close()
        event, = gateway.events("limit", "error")
        assert event["text"].startswith("The limit of tool calls per minute is reached: an answer is taken back; "), event


def test_tokens_used_up_hold_up_the_next_answer():
    with limited("{ tokens_per_minute: 1 }") as gateway:
        session = Session(gateway)
        assert session.answer()["response"]["status"] == "completed"
        assert "tokens per minute" in assert_is_refused(session.answer())
        session.close()


def test_audio_over_the_limit_ends_the_call_with_a_reason():
    with limited("{ audio_seconds_per_minute: 2 }") as gateway:
        session = Session(gateway)
        session.update(audio={"input": {"turn_detection": None}})
        for _ in range(8):
            session.send("input_audio_buffer.append", audio=silence(0.5))
        events = []
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                events.append(json.loads(session.socket.recv(LIMIT)))
        assert "audio seconds per minute" in assert_is_refused(events[-1])
        assert closed.value.rcvd.code == 1008 and closed.value.rcvd.reason.startswith("rate_limit_exceeded")
        gateway.wait_for_metric(1, "voxgate_sessions_ended_total", reason="rate_limited")
        assert [(event["severity"], event["text"]) for event in gateway.events("limit", "error", "ended")] == [
            ("error", "The limit of audio seconds per minute is reached: the session ends."),
            ("warning", "The session is over: its audio is over a limit."),
        ]
        gateway.assert_nothing_is_left()


def test_gateways_share_their_limits_in_redis_and_outlive_it():
    with Redis() as redis, contextlib.ExitStack() as stack:
        rules = ("{ responses_per_minute: 3 }", "{ sessions: 2 }")
        shared = "redis: { url_env: SHARED_COUNTERS }\n"
        env = {"SHARED_COUNTERS": redis.url}
        one = stack.enter_context(limited(*rules, redis=shared, env=env))
        other = stack.enter_context(limited(*rules, redis=shared, env=env))
        first, second = Session(one), Session(other)
        assert refusal(one).status_code == 429
        statuses, began = [], time.monotonic()
        # Each session may have taken one answer ahead, and one may be on its way while the counters are asked.
        for _ in range(6):
            statuses += [first.answer()["type"], second.answer()["type"]]
        refilled = int((time.monotonic() - began) * 3 / 60)
        assert 2 <= statuses.count("response.done") <= 5 + refilled, statuses
        assert "error" in statuses or refilled, statuses

        redis.stop()
        began = time.monotonic()
        response = refusal(one)
        assert response.status_code == 503 and response.headers["Retry-After"] == "5", response.body
        first.update(instructions="still here")
        second.update(instructions="still here")
        print(f"with Redis gone a session was refused after {time.monotonic() - began:.3f} s, and running ones went on")
        second.close()
        other.wait_for_metric(0, "voxgate_sessions")

        redis.start()
        until = time.monotonic() + LIMIT
        while True:
            with contextlib.suppress(InvalidStatus):
                Session(other).close()
                break
            assert time.monotonic() < until
            time.sleep(0.1)
        first.close()
