"""Calls of an independent WebRTC implementation, over UDP through the relay."""

import asyncio
import contextlib
import time

import pytest

from conftest import gateway_config, running_gateway, start_simulator
from event_stream import LIMIT
from webrtc_peer import call


@pytest.fixture(scope="module")
def gateway_with():
    """Gives a context of a gateway with these limits."""
    simulator, address = start_simulator()
    yield lambda limits: running_gateway(f"limits: {limits}\n{gateway_config(address)}")
    simulator.stop()


@contextlib.contextmanager
def one_more_ended(gateway, reason):
    """One session ends for this reason, and none is left."""
    # Those of before have been counted.
    until = time.monotonic() + LIMIT
    while gateway.total("voxgate_sessions_started_total") != gateway.total("voxgate_sessions_ended_total"):
        assert time.monotonic() < until, "a session of before does not end"
        time.sleep(0.05)
    before = gateway.metric("voxgate_sessions_ended_total", reason=reason)
    yield
    gateway.wait_for_metric(before + 1, "voxgate_sessions_ended_total", reason=reason)
    gateway.assert_nothing_is_left()


def client_secret(gateway, seconds=600, **session):
    reply = gateway.ask("POST", "/v1/realtime/client_secrets", json={
        "expires_after": {"anchor": "created_at", "seconds": seconds}, "session": {"type": "realtime", **session}})
    assert reply.status_code == 200, reply.text
    return reply.json()["value"]


def test_a_spoken_question_is_recognised_and_answered_aloud(gateway, speak):
    question = speak("what time is it")
    transcription = {"input": {"transcription": {"model": "local"}}}
    secret = client_secret(gateway, model="gpt-realtime", audio=transcription)

    async def scenario(peer):
        location = await peer.connect(gateway, token=secret)
        assert location.startswith("/v1/realtime/calls/rtc_")
        peer.say(question)
        heard = await peer.event("conversation.item.input_audio_transcription.completed")
        assert "time" in heard["transcript"].lower()
        await peer.answer_is_audible()
        stopped = await peer.event("output_audio_buffer.stopped")
        await peer.until(lambda: peer.measured, "turn.measured")
        return stopped, peer

    with one_more_ended(gateway, "client_closed"):
        stopped, peer = call(scenario)
    kinds = [event["type"] for event in peer.events]
    order = ["session.created", "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped",
             "input_audio_buffer.committed", "response.created", "output_audio_buffer.started", "response.done",
             "output_audio_buffer.stopped"]
    assert [kind for kind in kinds if kind in order] == order
    started, = peer.all("output_audio_buffer.started")
    done, = peer.all("response.done")
    assert started["response_id"] == stopped["response_id"] == done["response"]["id"]
    assert done["response"]["status"] == "completed"
    # Audio travels as RTP; on the data channel it would only be in the way.
    assert "response.output_audio.delta" not in kinds
    turn, = peer.measured
    assert turn["type"] == "turn.measured" and turn["turn"] == 1
    assert turn["mouth_to_ear_ms"] > 0
    assert sum(hop["duration_ms"] for hop in turn["hops"]) == pytest.approx(turn["mouth_to_ear_ms"], abs=1e-6)
    assert {"endpointing", "stt", "tts"} <= {hop["hop"] for hop in turn["hops"]}


def test_the_session_of_a_multipart_offer_is_in_effect_from_the_first_event(gateway):
    async def scenario(peer):
        session = {"type": "realtime", "model": "sim-voice", "instructions": "Be brief."}
        await peer.connect(gateway, session=session)
        return peer.events[0]["session"]

    with one_more_ended(gateway, "client_closed"):
        created = call(scenario)
    assert (created["model"], created["instructions"]) == ("sim-voice", "Be brief.")


@pytest.mark.parametrize("model", ["gpt-realtime", "sim-realtime"])
def test_speech_over_the_answer_stops_it_and_cuts_it_to_what_was_heard(gateway, speak, model):
    interruption = speak("stop please stop it now")

    async def scenario(peer):
        await peer.connect(gateway, model=model)
        peer.ask_in_writing("tell me a long story")
        started = await peer.event("output_audio_buffer.started")
        await peer.answer_is_audible()
        peer.say(interruption)
        await peer.event("input_audio_buffer.speech_started")
        response = started["response_id"]
        await peer.until(lambda: {"output_audio_buffer.cleared", "conversation.item.truncated"}
                         <= {event["type"] for event in peer.events}, "cleared and truncated")
        await peer.until(lambda: peer.all("response.done"), "response.done")
        return response, peer

    with one_more_ended(gateway, "client_closed"):
        response, peer = call(scenario)
    assert [event["response_id"] for event in peer.all("output_audio_buffer.cleared")] == [response]
    assert response not in [event["response_id"] for event in peer.all("output_audio_buffer.stopped")]
    done = peer.all("response.done")[0]["response"]
    assert done["id"] == response and done["status"] in ("cancelled", "completed")
    truncated = peer.all("conversation.item.truncated")[0]
    assert truncated["item_id"] == done["output"][0]["id"]
    assert truncated["audio_end_ms"] > 0
    assert peer.all("error") == []


def test_a_hang_up_by_http_ends_the_connection(gateway):
    async def scenario(peer):
        location = await peer.connect(gateway, model="sim-realtime")
        reply = await asyncio.to_thread(gateway.ask, "POST", f"{location}/hangup")
        assert reply.status_code == 200, reply.text
        await peer.ended()
        again = await asyncio.to_thread(gateway.ask, "POST", f"{location}/hangup")
        assert again.status_code == 404 and again.json()["error"]["code"] == "call_id_not_found"

    with one_more_ended(gateway, "hung_up"):
        call(scenario)


def test_a_client_that_vanishes_is_lost(gateway_with):
    async def scenario(peer):
        await peer.connect(strict, model="sim-realtime")
        peer.vanish()
        await asyncio.to_thread(strict.wait_for_metric, 0, "voxgate_sessions")

    with gateway_with("{ silence_timeout: 3s }") as strict, one_more_ended(strict, "client_lost"):
        call(scenario)


def test_an_offer_that_nobody_follows_up_gives_its_place_back(gateway_with):
    with gateway_with("{ setup_timeout: 5s }") as strict, one_more_ended(strict, "setup_timeout"):
        call(lambda peer: peer.place(strict, model="sim-realtime"))


@pytest.fixture
def brief(gateway_with):
    with gateway_with("{ session_duration: 10s, setup_timeout: 1m, silence_timeout: 1m }") as running:
        yield running


def test_a_session_ends_at_its_maximum_duration_and_says_so(brief):
    # As short-lived as the session, so that it has expired when the session has ended.
    secret = client_secret(brief, seconds=10, model="sim-realtime")

    async def scenario(peer):
        await peer.connect(brief, token=secret)
        error = (await peer.event("error"))["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", "session_expired")
        await peer.ended()

    with one_more_ended(brief, "maximum_duration"):
        call(scenario)
    late = brief.ask("POST", "/v1/realtime/calls", data="v=0", headers={"Authorization": f"Bearer {secret}"})
    assert late.status_code == 401
    assert late.json()["error"]["code"] == "invalid_api_key" and "expired" in late.json()["error"]["message"]
