"""The official `openai` package, unchanged, against the gateway: only the base URL is ours."""

import base64

import asyncio
import ssl

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from conftest import read_wav

LIMIT = 120


def client(gateway, **options):
    return AsyncOpenAI(api_key=gateway.key, base_url=gateway.base, **options)


async def collect(connection, last):
    """Every event up to and including the first of the type `last`."""
    events = []

    async def read():
        async for event in connection:
            events.append(event)
            assert event.type != "error", event
            if event.type == last:
                return

    await asyncio.wait_for(read(), LIMIT)
    return events


@pytest.mark.parametrize("model", ["gpt-realtime", "sim-realtime"])
def test_a_typed_question_is_answered_with_audio_and_its_words(gateway, model):
    async def run():
        async with client(gateway).realtime.connect(model=model) as connection:
            created = await asyncio.wait_for(connection.recv(), LIMIT)
            assert created.type == "session.created"
            assert created.session.model == model
            await connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
            updated = await asyncio.wait_for(connection.recv(), LIMIT)
            assert updated.type == "session.updated"
            assert updated.session.instructions == "Be brief."
            await connection.conversation.item.create(
                item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
            )
            await connection.response.create()
            return await collect(connection, "response.done")

    events = asyncio.run(run())
    kinds = [event.type for event in events]
    for expected in ["conversation.item.added", "conversation.item.done", "response.created",
                     "response.output_item.added", "response.content_part.added",
                     "response.output_audio_transcript.delta", "response.output_audio.delta",
                     "response.output_audio.done", "response.output_audio_transcript.done",
                     "response.content_part.done", "response.output_item.done"]:
        assert expected in kinds, (expected, kinds)
    audio = b"".join(base64.b64decode(event.delta) for event in events if event.type == "response.output_audio.delta")
    assert len(audio) > 24_000, "less than half a second of audio"
    done = events[-1].response
    assert done.status == "completed"
    words = [event.transcript for event in events if event.type == "response.output_audio_transcript.done"][0]
    assert words.strip()
    assert done.output[0].content[0].transcript == words


def test_a_spoken_question_ends_its_turn_by_itself_and_is_recognised(gateway, speak):
    pcm = read_wav(speak("what time is it"), 24_000)

    async def run():
        async with client(gateway).realtime.connect(model="gpt-realtime") as connection:
            await connection.session.update(
                session={"type": "realtime", "audio": {"input": {"transcription": {"model": "local"}}}}
            )
            silence = bytes(2 * 480)
            frames = [pcm[at:at + 480].tobytes() for at in range(0, len(pcm), 480)]
            for frame in [silence] * 20 + frames + [silence] * 50:
                await connection.input_audio_buffer.append(audio=base64.b64encode(frame).decode())
            return await collect(connection, "response.done")

    events = asyncio.run(run())
    kinds = [event.type for event in events]
    order = ["input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped",
             "input_audio_buffer.committed", "response.created"]
    assert [kind for kind in kinds if kind in order] == order
    heard = [event.transcript for event in events
             if event.type == "conversation.item.input_audio_transcription.completed"]
    assert heard and "time" in heard[0].lower(), heard


def test_a_tool_call_goes_to_the_client_and_its_output_back_to_the_agent(gateway):
    tool = {"type": "function", "name": "get_weather", "description": "Tells the weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}

    async def run():
        async with client(gateway).realtime.connect(model="gpt-realtime") as connection:
            await connection.session.update(session={"type": "realtime", "tools": [tool]})
            await connection.conversation.item.create(item={
                "type": "message", "role": "user",
                "content": [{"type": "input_text", "text": "what is the weather in paris"}]})
            await connection.response.create()
            first = await collect(connection, "response.done")
            call = first[-1].response.output[0]
            assert call.type == "function_call" and call.name == "get_weather", call
            await connection.conversation.item.create(item={
                "type": "function_call_output", "call_id": call.call_id, "output": '{"weather": "sunny"}'})
            await connection.response.create()
            return await collect(connection, "response.done")

    events = asyncio.run(run())
    words = events[-1].response.output[0].content[0].transcript
    assert "sunny" in words.lower(), words


def test_a_client_secret_opens_one_kind_of_door_only(gateway):
    with OpenAI(api_key=gateway.key, base_url=gateway.base) as keyed:
        secret = keyed.realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": 60},
            session={"type": "realtime", "model": "gpt-realtime", "audio": {"output": {"voice": "marin"}}},
        )
    assert secret.value.startswith("ek_")
    assert secret.session.audio.output.voice == "marin"
    with OpenAI(api_key=secret.value, base_url=gateway.base) as limited, \
            pytest.raises(openai.AuthenticationError):
        limited.realtime.client_secrets.create()


def test_refusals_have_the_shape_the_sdk_understands(gateway):
    with OpenAI(api_key="vg_wrong", base_url=gateway.base, max_retries=0) as wrong, \
            pytest.raises(openai.AuthenticationError) as refused:
        wrong.realtime.client_secrets.create()
    assert refused.value.code == "invalid_api_key"
    with OpenAI(api_key=gateway.key, base_url=gateway.base, max_retries=0) as keyed:
        with pytest.raises(openai.BadRequestError) as malformed:
            keyed.realtime.calls.create(sdp="this is no offer")
        assert malformed.value.code == "invalid_offer"
        with pytest.raises(openai.NotFoundError) as unknown:
            keyed.realtime.calls.hangup("rtc_unknown")
        assert unknown.value.code == "call_id_not_found"


def test_a_wss_client_works_with_the_gateways_own_authority(gateway):
    context = ssl.create_default_context(cafile=str(gateway.ca))

    async def run():
        secure = AsyncOpenAI(api_key=gateway.key, base_url=f"https://{gateway.https}/v1")
        async with secure.realtime.connect(
            model="gpt-realtime", websocket_connection_options={"ssl": context}
        ) as connection:
            return await asyncio.wait_for(connection.recv(), LIMIT)

    assert asyncio.run(run()).type == "session.created"
