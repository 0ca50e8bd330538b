"""Conversations that outlive the connections to their provider: the client notices nothing, the model knows everything."""

import asyncio
import base64
import contextlib
import json
import re
import time

import pytest
import websockets
from websockets.sync.client import connect

from conftest import gateway_config, running_gateway, start_simulator
from webrtc_peer import call

LIMIT = 120
SECRET_WORD = "marmalade"
# The simulator answers with everything its session knows.
TELLS_ALL = ["--answer-text", "session {session} knows {context}", "--model-delay-ms", "20"]


@contextlib.contextmanager
def gateway_at(*simulator_arguments, **provider):
    simulator, address = start_simulator(*TELLS_ALL, *simulator_arguments)
    try:
        with running_gateway(gateway_config(address, **provider)) as running:
            running.extra["simulator"] = simulator
            yield running
            running.assert_nothing_is_left()
    finally:
        simulator.stop()


class Client:
    """A WebSocket session; any `error` the test does not expect fails it."""

    def __init__(self, socket):
        self.socket = socket
        self.events = []
        self.wait_for("session.created")

    def wait_for(self, kind):
        while True:
            event = json.loads(self.socket.recv(timeout=LIMIT))
            self.events.append(event)
            assert event["type"] != "error" or kind == "error", event
            if event["type"] == kind:
                return event

    def send(self, kind, **fields):
        self.socket.send(json.dumps({"type": kind, **fields}))

    def write(self, text, **fields):
        content = [{"type": "input_text", "text": text}]
        self.send("conversation.item.create",
                  item={"type": "message", "role": "user", "content": content, **fields})
        return self.wait_for("conversation.item.done")["item"]["id"]

    def answer(self):
        """The words and the response of an answer that is asked for."""
        self.send("response.create")
        response = self.wait_for("response.done")["response"]
        words = [event["delta"] for event in self.events if event["type"] == "response.output_audio_transcript.delta"
                 and event["response_id"] == response["id"]]
        return "".join(words), response

    def retrieve(self, item_id):
        self.send("conversation.item.retrieve", item_id=item_id)
        return self.wait_for("conversation.item.retrieved")["item"]


@contextlib.contextmanager
def session(gateway):
    headers = {"Authorization": f"Bearer {gateway.key}"}
    url = f"ws://{gateway.http}/v1/realtime?model=sim"
    with connect(url, proxy=None, open_timeout=LIMIT, additional_headers=headers) as socket:
        yield Client(socket)


def session_of(told):
    """The number of the provider's session that gave this answer."""
    return int(re.match(r"session (\d+) knows", told).group(1))


def wait_for_moves(gateway, reason, number):
    """Until at least so many; a busy machine may see one more."""
    until = time.monotonic() + LIMIT
    name = "voxgate_provider_rotations_total"
    while gateway.metric(name, outcome="moved", reason=reason) < number:
        assert time.monotonic() < until, f"the conversation did not move {number} times"
        time.sleep(0.05)


def test_a_session_goes_on_over_three_provider_sessions_and_the_model_forgets_nothing():
    with gateway_at("--session-limit-s", "12", "--answer-ms", "200") as gateway, session(gateway) as client:
        chosen = client.write(f"the word is {SECRET_WORD}", id="item_chosen_here")
        told, response = client.answer()
        assert told.startswith("session 1 ") and response["status"] == "completed"
        answer = response["output"][0]["id"]
        for expirations, number in [(1, 2), (2, 3)]:
            wait_for_moves(gateway, "expired", expirations)
            told, response = client.answer()
            assert response["status"] == "completed"
            assert session_of(told) >= number
            assert f"[{chosen} user: the word is {SECRET_WORD}]" in told
            # The model is also told what it has answered itself.
            whole = re.search(rf"\[{answer} assistant: session 1 knows \+(\d+) words]", told)
            assert whole, told
        # Names the client knows from the first session mean the same in the third.
        assert client.retrieve(chosen)["content"] == [{"type": "input_text", "text": f"the word is {SECRET_WORD}"}]
        assert client.retrieve(answer)["role"] == "assistant"
        client.send("conversation.item.truncate", item_id=answer, content_index=0, audio_end_ms=50)
        assert client.wait_for("conversation.item.truncated")["audio_end_ms"] == 50
        client.send("conversation.item.delete", item_id=chosen)
        client.wait_for("conversation.item.deleted")
        told, _ = client.answer()
        assert f"[{chosen} user:" not in told
        cut = re.search(rf"\[{answer} assistant: session [^+]*\+(\d+) words]", told)
        assert cut and int(cut.group(1)) < int(whole.group(1)), told


def test_an_old_connection_is_replaced_in_a_pause_before_the_provider_ends_it():
    with gateway_at("--answer-ms", "200", max_connection="2s") as gateway, session(gateway) as client:
        client.write(f"the word is {SECRET_WORD}")
        assert client.answer()[0].startswith("session 1 ")
        wait_for_moves(gateway, "age", 1)
        told, response = client.answer()
        assert response["status"] == "completed"
        assert SECRET_WORD in told and session_of(told) >= 2
        assert gateway.metric("voxgate_provider_faults_total", owner="provider") == 0


def test_an_answer_the_provider_breaks_off_is_reported_as_failed_and_the_next_one_succeeds():
    breaks = ["--close-after-ms", "300", "--fault-at", "2", "--answer-ms", "1000"]
    with gateway_at(*breaks) as gateway, session(gateway) as client:
        client.write(f"the word is {SECRET_WORD}")
        assert client.answer()[1]["status"] == "completed"
        response = client.answer()[1]
        assert response["status"] == "failed"
        assert response["status_details"]["error"]["code"] == "provider_disconnected"
        kinds = [event["type"] for event in client.events]
        for part in ("response.output_item", "response.content_part"):
            assert kinds.count(f"{part}.added") == kinds.count(f"{part}.done") == 2
        told, response = client.answer()
        assert response["status"] == "completed"
        assert told.startswith("session 2 ") and SECRET_WORD in told


def test_a_provider_that_does_not_come_back_ends_the_session_with_a_reason():
    with gateway_at("--answer-ms", "200") as gateway, session(gateway) as client:
        client.write("hello")
        client.answer()
        gateway.extra["simulator"].stop()
        error = client.wait_for("error")["error"]
        assert error["code"] == "provider_unreachable" and error["type"] == "server_error"
        with pytest.raises(websockets.ConnectionClosed) as closed:
            client.wait_for("never")
        assert closed.value.rcvd.code == 1011
        assert gateway.metric("voxgate_provider_rotations_total", outcome="failed", reason="lost") == 1
        retry, *_, over, ended = gateway.events("retry", "error", "ended")
        assert (retry["severity"], retry["text"]) == (
            "warning", "No provider serves the session, since the connection broke: another connection is tried.")
        assert (over["severity"], over["text"]) == (
            "error", "No other connection to a provider came about, after the connection broke: the session ends.")
        assert over["detail"] == {"reason": "lost", "code": "provider_unreachable"}
        assert (ended["severity"], ended["text"]) == ("error", "The session is over: no provider serves it any more.")


def test_a_caller_talks_over_several_provider_sessions(speak):
    question = speak("what time is it")
    arguments = ["--session-limit-s", "4", "--transcript", SECRET_WORD, "--answer-ms", "1000"]
    with gateway_at(*arguments) as gateway:
        async def scenario(peer):
            transcription = {"input": {"transcription": {"model": "local"}}}
            await peer.connect(gateway, model="sim", session={"type": "realtime", "model": "sim", "audio": transcription})
            peer.say(question)
            first = await peer.event("input_audio_buffer.speech_stopped")
            item = (await peer.event("conversation.item.input_audio_transcription.completed"))["item_id"]
            await peer.event("output_audio_buffer.stopped")
            await asyncio.to_thread(wait_for_moves, gateway, "expired", 1)
            peer.say(question)
            second = await peer.event("input_audio_buffer.speech_started")
            # The clock of the session goes on although the provider's began anew.
            assert second["audio_start_ms"] > first["audio_end_ms"]
            done = await peer.event("response.done")
            await peer.event("output_audio_buffer.stopped")
            peer.send({"type": "conversation.item.retrieve", "item_id": item})
            kept = await peer.event("conversation.item.retrieved")
            assert kept["item"]["content"][0]["transcript"] == SECRET_WORD
            return item, done, peer

        item, done, peer = call(scenario)
        said = "".join(event["delta"] for event in peer.all("response.output_audio_transcript.delta")
                       if event["response_id"] == done["response"]["id"])
        assert session_of(said) >= 2 and f"[{item} user: {SECRET_WORD}]" in said, said
        assert peer.all("error") == []
        started, stopped = (peer.all(f"output_audio_buffer.{what}") for what in ("started", "stopped"))
        assert [event["response_id"] for event in started] == [event["response_id"] for event in stopped]


def test_a_caller_hears_an_answer_to_the_end_of_what_was_made_when_the_session_expires():
    arguments = ["--session-limit-s", "3", "--answer-ms", "5000", "--speed", "1.5"]
    with gateway_at(*arguments) as gateway:
        async def scenario(peer):
            await peer.connect(gateway, model="sim")
            peer.ask_in_writing(f"the word is {SECRET_WORD}")
            done = (await peer.event("response.done"))["response"]
            heard_by_then = peer.audible_frames
            await peer.event("output_audio_buffer.stopped")
            peer.ask_in_writing("what was the word")
            again = await peer.event("response.created")
            return done, again, heard_by_then, peer

        done, again, heard_by_then, peer = call(scenario)
        assert (done["status"], done["status_details"]["error"]["code"]) == ("failed", "session_expired")
        assert again["response"]["id"] != done["id"]
        # Made faster than spoken: at the end of the connection some of it was still to be heard.
        assert peer.audible_frames > heard_by_then
        assert peer.all("error") == []


def tone(seconds):
    """A loud square wave, PCM of 24 kHz."""
    half = 60
    return (b"\x00\x20" * half + b"\x00\xe0" * half) * int(24_000 * seconds / (2 * half))


def stream(client, pcm, piece=2_400):
    """Sends audio as a microphone gives it: a tenth of a second every tenth of a second."""
    begin = time.monotonic()
    for index in range(0, len(pcm), 2 * piece):
        client.send("input_audio_buffer.append", audio=base64.b64encode(pcm[index:index + 2 * piece]).decode())
        due = begin + (index + 2 * piece) / 48_000
        time.sleep(max(0.0, due - time.monotonic()))


def test_a_turn_that_is_being_spoken_when_the_provider_ends_the_session_is_one_turn_to_the_client():
    arguments = ["--session-limit-s", "4", "--transcript", SECRET_WORD, "--answer-ms", "200"]
    with gateway_at(*arguments) as gateway, session(gateway) as client:
        stream(client, bytes(48_000) + tone(6) + bytes(2 * 48_000))
        committed = client.wait_for("input_audio_buffer.committed")
        done = client.wait_for("response.done")["response"]
        assert done["status"] == "completed"
        assert gateway.metric("voxgate_provider_rotations_total", outcome="moved", reason="expired") >= 1
        started, stopped = ([event for event in client.events if event["type"] == f"input_audio_buffer.speech_{what}"]
                            for what in ("started", "stopped"))
        assert [event["item_id"] for event in started + stopped] == [committed["item_id"]] * 2
        assert stopped[0]["audio_end_ms"] > started[0]["audio_start_ms"] + 4_000


def test_words_the_client_did_not_ask_for_outlive_the_connection_and_stay_unseen():
    provider = {"transcription_model": "scribe", "max_connection": "3s"}
    with gateway_at("--transcript", SECRET_WORD, "--answer-ms", "200", **provider) as gateway, session(gateway) as client:
        stream(client, tone(1) + bytes(2 * 48_000))
        item = client.wait_for("input_audio_buffer.committed")["item_id"]
        client.wait_for("response.done")
        wait_for_moves(gateway, "age", 1)
        told, _ = client.answer()
        assert session_of(told) >= 2 and f"[{item} user: {SECRET_WORD}]" in told, told
        assert client.retrieve(item)["content"] == [{"type": "input_audio", "transcript": None}]
        assert not [event for event in client.events if "transcription" in event["type"]]


def test_a_client_that_names_no_recognition_model_gets_the_configured_one():
    with gateway_at("--transcript", SECRET_WORD, transcription_model="scribe") as gateway, session(gateway) as client:
        client.send("session.update", session={"type": "realtime", "audio": {"input": {"transcription": {}}}})
        client.wait_for("session.updated")
        stream(client, tone(1) + bytes(2 * 48_000))
        done = client.wait_for("conversation.item.input_audio_transcription.completed")
        assert done["transcript"] == SECRET_WORD


def test_silence_after_the_answer_is_answered_by_the_gateways_clock():
    with gateway_at("--answer-ms", "1500") as gateway, session(gateway) as client:
        vad = {"type": "server_vad", "idle_timeout_ms": 5_000}
        client.send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": vad}}})
        assert client.wait_for("session.updated")["session"]["audio"]["input"]["turn_detection"]["idle_timeout_ms"] == 5_000
        client.write("hello")
        client.answer()
        silent = client.wait_for("input_audio_buffer.timeout_triggered")
        assert client.wait_for("input_audio_buffer.committed")["item_id"] == silent["item_id"]
        assert client.wait_for("response.done")["response"]["status"] == "completed"
        assert client.retrieve(silent["item_id"])["content"][0]["type"] == "input_audio"


def test_a_provider_that_stalls_is_replaced_and_the_next_question_answered():
    stalls = ["--stall-after-ms", "100", "--fault-at", "2", "--answer-ms", "400"]
    with gateway_at(*stalls, stall_timeout="6s") as gateway, session(gateway) as client:
        client.write(f"the word is {SECRET_WORD}")
        assert client.answer()[1]["status"] == "completed"
        stalled = client.answer()[1]
        assert (stalled["status"], stalled["status_details"]["error"]["code"]) == ("failed", "provider_stalled")
        told, response = client.answer()
        assert response["status"] == "completed"
        assert told.startswith("session 2 ") and SECRET_WORD in told


def test_an_answer_made_of_named_turns_is_made_of_them_before_and_after_a_move():
    with gateway_at("--answer-ms", "200", "--session-limit-s", "12", turn_detection="gateway") as gateway, \
            session(gateway) as client:
        client.send("session.update", session={"type": "realtime", "audio": {"input": {
            "turn_detection": None, "transcription": {"model": "scribe"}}}})
        client.wait_for("session.updated")
        turns = []
        for _ in range(2):
            client.send("input_audio_buffer.append", audio=base64.b64encode(tone(1)).decode())
            client.send("input_audio_buffer.commit")
            client.wait_for("conversation.item.input_audio_transcription.completed")
            turns.append(client.events[-1]["item_id"])
        for moves in (0, 1):
            if moves:
                wait_for_moves(gateway, "expired", 1)
            reference = {"type": "item_reference", "id": turns[1]}
            client.send("response.create", response={"conversation": "none", "input": [reference]})
            response = client.wait_for("response.done")["response"]
            told = response["output"][0]["content"][0]["transcript"]
            # The vendor has a name of its own for a turn it heard, and the gateway's for one it was told.
            assert told.count(" user: ") == 1 and (f"[{turns[1]} user:" in told) == bool(moves), told
