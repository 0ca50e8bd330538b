"""The whole of the API as a client meets it: every client event is known and answered, every server event is sent or has a
reason why not."""

import asyncio
import json

import pytest

from event_judge import SPECS, complaints
from sideband_peer import SidebandPeer
from webrtc_peer import Peer
from websocket_peer import SocketPeer

# What each client event is answered with if it comes with nothing but its name: a code and the field, or an event.
ANSWERS = {
    "conversation.item.create": ("missing_required_parameter", "item"),
    "conversation.item.delete": ("missing_required_parameter", "item_id"),
    "conversation.item.retrieve": ("missing_required_parameter", "item_id"),
    "conversation.item.truncate": ("missing_required_parameter", "item_id"),
    "input_audio_buffer.append": ("missing_required_parameter", "audio"),
    "input_audio_buffer.clear": "input_audio_buffer.cleared",
    "input_audio_buffer.commit": ("input_audio_buffer_commit_empty", None),
    "output_audio_buffer.clear": None,
    "response.cancel": ("response_cancel_not_active", None),
    "response.create": "response.created",
    "session.update": ("missing_required_parameter", "session"),
}

# Server events beyond those of the long conversation of test_conversation.py.
SENT_ELSEWHERE = {
    "conversation.item.input_audio_transcription.failed": "realtime/tests/wire/caller.rs",
    "input_audio_buffer.timeout_triggered": "test_transcription.py",
}

# See docs/decisions/013.
NEVER_SENT = {
    "conversation.created", "conversation.item.created", "rate_limits.updated",
    "conversation.item.input_audio_transcription.segment", "input_audio_buffer.dtmf_event_received",
    "mcp_list_tools.completed", "mcp_list_tools.failed", "mcp_list_tools.in_progress",
    "response.mcp_call.completed", "response.mcp_call.failed", "response.mcp_call.in_progress",
    "response.mcp_call_arguments.delta", "response.mcp_call_arguments.done",
}

SENT_IN_CONVERSATION = {
    "conversation.item.added", "conversation.item.deleted", "conversation.item.done",
    "conversation.item.input_audio_transcription.completed", "conversation.item.input_audio_transcription.delta",
    "conversation.item.retrieved", "conversation.item.truncated", "error", "input_audio_buffer.cleared",
    "input_audio_buffer.committed", "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped",
    "output_audio_buffer.cleared", "output_audio_buffer.started", "output_audio_buffer.stopped",
    "response.content_part.added", "response.content_part.done", "response.created", "response.done",
    "response.function_call_arguments.delta", "response.function_call_arguments.done", "response.output_audio.delta",
    "response.output_audio.done", "response.output_audio_transcript.delta", "response.output_audio_transcript.done",
    "response.output_item.added", "response.output_item.done", "response.output_text.delta", "response.output_text.done",
    "session.created", "session.updated",
}


def expected(peer):
    """What the long conversation shows over this transport."""
    media = {kind for kind in SENT_IN_CONVERSATION if kind.startswith("output_audio_buffer.")}
    absent = {"response.output_audio.delta"} if peer.has_media else media
    if isinstance(peer, SidebandPeer):
        absent = absent | {"session.created"}
    return SENT_IN_CONVERSATION - absent


def events_of(schema):
    whole = json.loads((SPECS / f"realtime_{schema}_event.schema.json").read_text())
    names = (definition.get("properties", {}).get("type", {}).get("const") for definition in whole["$defs"].values())
    refs = {ref["$ref"].rsplit("/", 1)[1] for ref in whole["anyOf"]}
    return {whole["$defs"][name]["properties"]["type"]["const"] for name in refs} & {name for name in names if name}


def test_every_server_event_of_the_api_is_sent_or_known_never_to_be():
    assert events_of("server") == SENT_IN_CONVERSATION | set(SENT_ELSEWHERE) | NEVER_SENT
    assert len(events_of("server")) == 46


@pytest.mark.parametrize("transport", [SocketPeer, Peer, SidebandPeer])
def test_every_client_event_of_the_api_is_known_and_answered(gateway, transport):
    assert events_of("client") == set(ANSWERS) and len(ANSWERS) == 11

    async def play():
        peer = transport()
        try:
            await peer.connect(gateway, model="sim-realtime")
            for number, (kind, answer) in enumerate(ANSWERS.items()):
                await ask(peer, kind, f"client_{number}", answer)
        finally:
            await peer.close()
        return peer

    async def ask(peer, kind, event_id, answer):
        if kind == "input_audio_buffer.commit":
            # The microphone never rests: what it has recorded so far is forgotten first.
            peer.send({"type": "input_audio_buffer.clear"})
        peer.send({"type": kind, "event_id": event_id})
        if kind == "output_audio_buffer.clear" and not peer.has_media:
            answer = ("invalid_event", None)
        if isinstance(answer, tuple):
            error = (await peer.event("error"))["error"]
            assert (error["code"], error["param"], error["event_id"]) == (*answer, event_id), error
            assert error["type"] == "invalid_request_error" and error["message"]
        elif answer:
            await peer.event(answer)
        if kind == "response.create":
            await peer.event("response.done")

    peer = asyncio.run(play())
    assert [complaint for text in peer.wire for complaint in complaints(text)] == []
    gateway.assert_nothing_is_left()


def test_what_is_for_sip_or_the_beta_is_refused_in_words(gateway):
    for path, code in [("calls/rtc_1/accept", "sip_not_supported"), ("calls/rtc_1/reject", "sip_not_supported"),
                       ("calls/rtc_1/refer", "sip_not_supported"), ("sessions", "beta_api_shape_disabled"),
                       ("transcription_sessions", "beta_api_shape_disabled")]:
        reply = gateway.ask("POST", f"/v1/realtime/{path}", json={})
        error = reply.json()["error"]
        assert (reply.status_code, error["type"], error["code"]) == (400, "invalid_request_error", code)
