"""One long scripted conversation over every transport. Every server event is judged by the official parsers and the
schemas, and all of them together by the rules between events."""

import asyncio
import json

import pytest

from conftest import gateway_config, running_gateway, start_simulator
from conversation_rules import Rules
from event_judge import complaints
from sideband_peer import SidebandPeer
from test_api_surface import expected
from webrtc_peer import Peer
from websocket_peer import SocketPeer

TOOL = {
    "type": "function", "name": "get_weather", "description": "Tells the weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@pytest.fixture(scope="module")
def patient():
    """A gateway whose simulated provider takes seconds to say an answer, so that there is time to cut it short."""
    simulator, address = start_simulator("--answer-ms", "12000", "--speed", "4")
    with running_gateway(gateway_config(address)) as running:
        yield running
    simulator.stop()


@pytest.mark.parametrize("model", ["gpt-realtime", "sim-realtime"])
@pytest.mark.parametrize("transport", [SocketPeer, Peer, SidebandPeer])
def test_a_long_conversation_is_in_order_to_every_judge(patient, speak, transport, model):
    async def play():
        peer = transport()
        try:
            await peer.connect(patient, model=model)
            script = Script(peer, speak)
            await script.play()
            return script
        finally:
            await peer.close()

    script = asyncio.run(play())
    patient.assert_nothing_is_left()
    peer = script.peer
    assert [complaint for text in peer.wire for complaint in complaints(text)] == []
    assert Rules(peer.events, peer.has_media).broken == []
    assert [event["error"]["event_id"] for event in peer.all("error")] == script.refused
    # Every kind of thing has happened, so the judges have seen it.
    assert {event["type"] for event in peer.events} == expected(peer)


def user_says(text, **fields):
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}], **fields}


class Script:
    """The steps of the conversation. `refused` names the client events that had to be refused, in order."""

    def __init__(self, peer, speak):
        self.peer = peer
        self.speak = speak
        self.refused = []
        self.sent = 0

    async def play(self):
        for step in (
            self.configures_the_session, self.asks_in_writing, self.cannot_change_the_voice_any_more,
            self.asks_aloud, self.answers_a_tool_call, self.classifies_beside_the_conversation, self.reads_an_answer,
            self.cancels_an_answer, self.interrupts_an_answer, self.looks_up_what_was_heard, self.arranges_items,
            self.commits_by_hand, self.clears_the_input, self.makes_mistakes, self.talks_on,
        ):
            await step()

    def send(self, kind, **fields):
        self.sent += 1
        event_id = f"step_{self.sent}"
        self.peer.send({"type": kind, "event_id": event_id, **fields})
        return event_id

    async def refusal(self, kind, code, param=None, **fields):
        """Sends what has to be refused, and waits for the refusal that names it."""
        event_id = self.send(kind, **fields)
        error = (await self.peer.told("error", lambda event: event["error"]["event_id"] == event_id))["error"]
        self.refused.append(event_id)
        assert error["code"] == code, error
        assert param is None or error["param"] == param, error
        assert error["type"] == "invalid_request_error" and error["message"], error

    async def update(self, **session):
        self.send("session.update", session={"type": "realtime", **session})
        return (await self.peer.event("session.updated"))["session"]

    async def write(self, text, **fields):
        self.send("conversation.item.create", item=user_says(text, **fields))
        return (await self.peer.event("conversation.item.done"))["item"]

    async def response(self, **options):
        """Asks for an answer. Gives it as it began and as it ended."""
        self.send("response.create", **({"response": options} if options else {}))
        created = (await self.peer.event("response.created"))["response"]
        return created, await self.end_of(created)

    async def end_of(self, created):
        done = await self.peer.told("response.done", lambda event: event["response"]["id"] == created["id"])
        return done["response"]

    async def spoken(self, **options):
        """An answer that has to be spoken to its end; a call hears its beginning only."""
        _, done = await self.response(**options)
        assert done["status"] == "completed", done
        assert done["output"][-1]["content"][0]["transcript"].strip(), done
        await self.fall_quiet(done)
        return done

    def playback(self, step, response):
        return [event for event in self.peer.all(f"output_audio_buffer.{step}")
                if event["response_id"] == response["id"]]

    async def fall_quiet(self, response):
        """Lets a call hear the beginning of an answer and no more."""
        if self.peer.has_media:
            await self.peer.until(lambda: self.playback("started", response), "the start of playback")
            self.send("output_audio_buffer.clear")
            await self.played(response)

    async def played(self, response):
        if self.peer.has_media:
            await self.peer.until(lambda: self.playback("cleared", response) or self.playback("stopped", response),
                                  "the end of playback")

    async def configures_the_session(self):
        detection = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 200, "silence_duration_ms": 400}
        session = await self.update(
            instructions="Be brief.", tools=[TOOL], tool_choice="auto", max_output_tokens=1000,
            audio={"input": {"transcription": {"model": "whisper-1"}, "turn_detection": detection},
                   "output": {"voice": "cedar"}})
        effective = session["audio"]["input"]["turn_detection"]
        assert {**effective, **detection} == effective, effective
        assert effective["create_response"] is effective["interrupt_response"] is True
        assert session["audio"]["output"]["voice"] == "cedar"
        assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
        assert [tool["name"] for tool in session["tools"]] == ["get_weather"]
        assert (session["instructions"], session["max_output_tokens"]) == ("Be brief.", 1000)

    async def asks_in_writing(self):
        item = await self.write("hello", id="item_hello")
        assert (item["id"], item["status"]) == ("item_hello", "completed")
        added, = [event for event in self.peer.all("conversation.item.added") if event["item"]["id"] == "item_hello"]
        assert added["previous_item_id"] is None
        created, done = await self.response(metadata={"step": "greeting"})
        assert created["metadata"] == done["metadata"] == {"step": "greeting"}
        assert created["conversation_id"] == done["conversation_id"] is not None
        assert not done["usage"] or done["usage"]["total_tokens"] >= 0
        await self.played(done)
        assert len(self.playback("stopped", done)) == self.peer.has_media, "this one is heard to its end"

    async def cannot_change_the_voice_any_more(self):
        await self.refusal("session.update", "cannot_update_voice", "session.audio.output.voice",
                           session={"type": "realtime", "instructions": "Be rude.",
                                    "audio": {"output": {"voice": "ash"}}})
        assert (await self.update())["instructions"] == "Be brief.", "refused as a whole"

    async def asks_aloud(self):
        self.peer.say(self.speak("what time is it"))
        started = await self.peer.event("input_audio_buffer.speech_started")
        stopped = await self.peer.event("input_audio_buffer.speech_stopped")
        committed = await self.peer.event("input_audio_buffer.committed")
        question = started["item_id"]
        assert stopped["item_id"] == committed["item_id"] == question
        assert started["audio_start_ms"] < stopped["audio_end_ms"]
        created = (await self.peer.event("response.created"))["response"]
        heard = await self.peer.told("conversation.item.input_audio_transcription.completed",
                                     lambda event: event["item_id"] == question)
        assert heard["transcript"].strip() and heard["usage"]["seconds"] > 0
        done = await self.end_of(created)
        assert done["status"] == "completed"
        await self.fall_quiet(done)

    async def answers_a_tool_call(self):
        await self.write("what is the weather in paris, ask the tool get_weather")
        _, done = await self.response()
        call = done["output"][-1]
        assert (call["type"], call["name"], call["status"]) == ("function_call", "get_weather", "completed")
        assert isinstance(json.loads(call["arguments"]), dict)
        whole = await self.peer.told("response.function_call_arguments.done",
                                     lambda event: event["call_id"] == call["call_id"])
        assert (whole["item_id"], whole["arguments"]) == (call["id"], call["arguments"])
        self.send("conversation.item.create", previous_item_id=call["id"], item={
            "type": "function_call_output", "call_id": call["call_id"], "output": '{"weather": "sunny"}'})
        added = await self.peer.event("conversation.item.added", lambda event: "output" in event["item"])
        assert added["previous_item_id"] == call["id"]
        await self.spoken()

    async def classifies_beside_the_conversation(self):
        created, done = await self.response(
            conversation="none", output_modalities=["text"], metadata={"topic": "classification"}, tool_choice="none",
            instructions="Say exactly: support", input=[user_says("my line is dead")])
        assert created["conversation_id"] is done["conversation_id"] is None
        assert created["metadata"] == done["metadata"] == {"topic": "classification"}
        answer, = done["output"]
        assert answer["content"][0]["type"] == "output_text" and answer["content"][0]["text"].strip()
        known = [event["item"]["id"] for event in self.peer.all("conversation.item.added")]
        assert answer["id"] not in known
        await self.refusal("conversation.item.retrieve", "item_retrieve_invalid_item_id", item_id=answer["id"])

    async def reads_an_answer(self):
        await self.write("what is seven plus five")
        _, done = await self.response(output_modalities=["text"])
        part, = done["output"][0]["content"]
        assert (done["output_modalities"], part["type"]) == (["text"], "output_text")
        parts = [event["part"] for event in self.peer.all("response.content_part.done")
                 if event["response_id"] == done["id"]]
        assert parts == [{"type": "text", "text": part["text"]}]
        assert self.playback("started", done) == []

    async def cancels_an_answer(self):
        await self.write("tell me a long story")
        self.send("response.create")
        created = (await self.peer.event("response.created"))["response"]
        await self.refusal("response.create", "conversation_already_has_active_response")
        self.send("response.cancel", response_id=created["id"])
        done = await self.end_of(created)
        assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "client_cancelled")
        if self.peer.has_media:
            self.send("output_audio_buffer.clear")
            await self.peer.until(lambda: len(self.playback("started", done)) == len(
                self.playback("cleared", done) + self.playback("stopped", done)), "quiet")
        await self.refusal("response.cancel", "response_cancel_not_active")

    async def interrupts_an_answer(self):
        await self.write("tell me a long story")
        self.send("response.create")
        story = (await self.peer.event("response.created"))["response"]
        added = await self.peer.event("response.output_item.added")
        self.story = added["item"]["id"]
        await self.peer.answer_is_audible(50)
        self.peer.say(self.speak("stop please stop it now"))
        await self.peer.event("input_audio_buffer.speech_started")
        if not self.peer.has_media:
            self.send("conversation.item.truncate", item_id=self.story, content_index=0, audio_end_ms=300)
        truncated = await self.peer.told("conversation.item.truncated", lambda event: event["item_id"] == self.story)
        assert truncated["audio_end_ms"] == 300 if not self.peer.has_media else truncated["audio_end_ms"] > 500
        done = await self.end_of(story)
        assert done["status"] == "completed" or done["status_details"]["reason"] == "turn_detected"
        await self.played(story)
        if self.peer.has_media:
            assert len(self.playback("cleared", story)) == 1
            order = ["input_audio_buffer.speech_started", "output_audio_buffer.cleared", "conversation.item.truncated"]
            last = {event["type"]: at for at, event in enumerate(self.peer.events)}
            assert [last[kind] for kind in order] == sorted(last[kind] for kind in order)
        await self.peer.event("input_audio_buffer.committed")
        answer = (await self.peer.event("response.created"))["response"]
        await self.end_of(answer)
        await self.fall_quiet(answer)

    async def looks_up_what_was_heard(self):
        self.send("conversation.item.retrieve", item_id=self.story)
        item = (await self.peer.event("conversation.item.retrieved"))["item"]
        said = await self.peer.told("response.output_audio_transcript.done",
                                    lambda event: event["item_id"] == self.story)
        heard = item["content"][0]["transcript"]
        assert said["transcript"].startswith(heard) and len(heard) < len(said["transcript"]), heard
        await self.refusal("conversation.item.retrieve", "item_retrieve_invalid_item_id", item_id="item_unknown")

    async def arranges_items(self):
        rule = {"id": "item_rule", "type": "message", "role": "system",
                "content": [{"type": "input_text", "text": "Be polite."}]}
        self.send("conversation.item.create", previous_item_id="root", item=rule)
        added = await self.peer.event("conversation.item.added")
        assert (added["item"]["id"], added["previous_item_id"]) == ("item_rule", None)
        await self.refusal("conversation.item.create", "item_create_duplicate_item_id", item=rule)
        await self.refusal("conversation.item.create", "item_create_invalid_previous_item_id",
                           previous_item_id="item_unknown", item=user_says("hello"))
        await self.refusal("conversation.item.truncate", "unsupported_content_type",
                           item_id="item_hello", content_index=0, audio_end_ms=100)
        self.send("conversation.item.delete", item_id="item_hello")
        assert (await self.peer.event("conversation.item.deleted"))["item_id"] == "item_hello"
        await self.refusal("conversation.item.delete", "item_delete_invalid_item_id", item_id="item_hello")

    async def commits_by_hand(self):
        session = await self.update(tools=[], audio={"input": {"turn_detection": None}})
        assert session["audio"]["input"]["turn_detection"] is None and session["tools"] == []
        detected = len(self.peer.all("input_audio_buffer.speech_started"))
        self.peer.say(self.speak("what is your name"))
        await self.peer.fallen_silent()
        self.send("input_audio_buffer.commit")
        committed = await self.peer.event("input_audio_buffer.committed")
        await self.peer.event("conversation.item.added", lambda event: event["item"]["id"] == committed["item_id"])
        await self.peer.told("conversation.item.input_audio_transcription.completed",
                             lambda event: event["item_id"] == committed["item_id"])
        assert len(self.peer.all("input_audio_buffer.speech_started")) == detected, "nobody listens for turns"
        await self.spoken()

    async def clears_the_input(self):
        self.send("input_audio_buffer.clear")
        # Both in one go: nothing can be said in between.
        await self.refusal("input_audio_buffer.commit", "input_audio_buffer_commit_empty")
        assert len(self.peer.all("input_audio_buffer.cleared")) == 1

    async def makes_mistakes(self):
        self.peer.send("{this is no JSON")
        await self.peer.told("error", lambda event: event["error"]["code"] == "invalid_event")
        self.refused.append(None)
        await self.refusal("session.paint", "invalid_value", "type")
        await self.refusal("session.update", "unknown_parameter", "session.colour",
                           session={"type": "realtime", "colour": "red"})
        await self.refusal("conversation.item.create", "invalid_value", item={"type": "poem"})
        await self.refusal("conversation.item.delete", "missing_required_parameter", "item_id")
        if self.peer.has_media:
            await self.refusal("input_audio_buffer.append", "invalid_event", audio="AAAA")
        else:
            await self.refusal("output_audio_buffer.clear", "invalid_event")

    async def talks_on(self):
        """After all this the session is as good as new."""
        detection = {"type": "semantic_vad", "eagerness": "high"}
        session = await self.update(tools=[TOOL], audio={"input": {"turn_detection": detection}})
        effective = session["audio"]["input"]["turn_detection"]
        assert {**effective, **detection} == effective, effective
        self.peer.say(self.speak("what time is it"))
        await self.peer.event("input_audio_buffer.speech_started")
        created = (await self.peer.event("response.created"))["response"]
        done = await self.end_of(created)
        assert done["status"] == "completed"
        await self.fall_quiet(done)
