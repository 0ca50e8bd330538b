"""Transcription sessions of the official SDK, and the idle timeout: what is told without anybody speaking."""

import asyncio
import base64

import pytest
from openai import AsyncOpenAI, OpenAI

from conftest import read_wav
from webrtc_peer import call

LIMIT = 120


def transcription(gateway, model=None):
    query = {"intent": "transcription", **({"model": model} if model else {})}
    return AsyncOpenAI(api_key=gateway.key, base_url=gateway.base).realtime.connect(extra_query=query)


async def read_until(connection, is_last):
    events = []
    async with asyncio.timeout(LIMIT):
        while True:
            events.append(await connection.recv())
            assert events[-1].type != "error", events[-1]
            if is_last(events[-1]):
                return events


async def speak_into(connection, pcm):
    silence = bytes(2 * 480)
    frames = [pcm[at:at + 480].tobytes() for at in range(0, len(pcm), 480)]
    for frame in [silence] * 20 + frames + [silence] * 50:
        await connection.input_audio_buffer.append(audio=base64.b64encode(frame).decode())


def is_completed(event):
    return event.type == "conversation.item.input_audio_transcription.completed"


@pytest.mark.parametrize("model", [None, "sim-realtime"])
def test_a_transcription_session_writes_down_and_never_answers(gateway, speak, model):
    pcm = read_wav(speak("what time is it"), 24_000)

    async def run():
        async with transcription(gateway, model) as connection:
            created = await asyncio.wait_for(connection.recv(), LIMIT)
            assert created.type == "session.created" and created.session.type == "transcription"
            await connection.session.update(session={
                "type": "transcription", "audio": {"input": {
                    "transcription": {"model": "gpt-4o-transcribe", "language": "en"},
                    "turn_detection": {"type": "server_vad", "silence_duration_ms": 400}}}})
            updated = await asyncio.wait_for(connection.recv(), LIMIT)
            assert updated.session.audio.input.turn_detection.silence_duration_ms == 400
            await speak_into(connection, pcm)
            events = await read_until(connection, is_completed)
            await connection.response.create(event_id="mine")
            async with asyncio.timeout(LIMIT):
                while (event := await connection.recv()).type != "error":
                    events.append(event)
            assert (event.error.code, event.error.event_id) == ("invalid_event", "mine")
            # By the time a second turn is written down, an answer to the first would have begun.
            await speak_into(connection, pcm)
            events += await read_until(connection, is_completed)
            return events

    events = asyncio.run(run())
    kinds = [event.type for event in events]
    order = ["input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped",
             "input_audio_buffer.committed", "conversation.item.input_audio_transcription.completed"]
    assert [kind for kind in kinds if kind in order] == order * 2
    assert not [kind for kind in kinds if kind.startswith("response.")]
    if model is None:
        assert "time" in [event for event in events if is_completed(event)][0].transcript.lower()
    gateway.assert_nothing_is_left()


def test_a_call_can_be_a_transcription_by_its_client_secret(gateway, speak):
    with OpenAI(api_key=gateway.key, base_url=gateway.base) as keyed:
        secret = keyed.realtime.client_secrets.create(session={
            "type": "transcription", "audio": {"input": {"transcription": {"model": "whisper-1"}}}})
    assert secret.session.type == "transcription" and secret.session.id.startswith("sess_")
    question = speak("what time is it")

    async def scenario(peer):
        await peer.connect(gateway, token=secret.value)
        assert peer.events[0]["session"]["type"] == "transcription"
        peer.say(question)
        heard = await peer.event("conversation.item.input_audio_transcription.completed")
        assert "time" in heard["transcript"].lower()
        peer.say(question)
        await peer.event("conversation.item.input_audio_transcription.completed")
        assert not [event for event in peer.events if event["type"].startswith(("response.", "output_audio"))]
        assert peer.all("error") == []

    call(scenario)
    gateway.assert_nothing_is_left()


def test_an_intent_that_contradicts_the_client_secret_is_refused(gateway):
    reply = gateway.ask("POST", "/v1/realtime/client_secrets", json={"session": {"type": "transcription"}})
    secret = reply.json()["value"]
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Authorization": f"Bearer {secret}"}
    refused = gateway.ask("GET", "/v1/realtime?intent=conversation", headers=upgrade)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "intent")


def test_a_silent_caller_is_spoken_to_after_the_idle_timeout(gateway):
    vad = {"type": "server_vad", "idle_timeout_ms": 5000}
    session = {"type": "realtime", "model": "gpt-realtime", "audio": {"input": {"turn_detection": vad}}}

    async def scenario(peer):
        await peer.connect(gateway, session=session)
        peer.ask_in_writing("what time is it")
        await peer.event("output_audio_buffer.stopped")
        timed_out = await peer.event("input_audio_buffer.timeout_triggered")
        committed = await peer.event("input_audio_buffer.committed")
        assert committed["item_id"] == timed_out["item_id"]
        assert timed_out["audio_end_ms"] > timed_out["audio_start_ms"]
        await peer.event("response.created")
        await peer.answer_is_audible()
        words = await peer.event("response.output_audio_transcript.done")
        assert "still there" in words["transcript"].lower()
        peer.send({"type": "conversation.item.retrieve", "item_id": timed_out["item_id"]})
        item = (await peer.event("conversation.item.retrieved"))["item"]
        assert (item["role"], item["content"][0]["type"]) == ("user", "input_audio")
        assert peer.all("error") == []

    call(scenario)
    gateway.assert_nothing_is_left()
