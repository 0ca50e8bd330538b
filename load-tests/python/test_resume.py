"""A client that lost its transport goes on with its conversation in a new call."""

import asyncio
import contextlib
import socket as sockets
import time

import pytest
import websockets
from aiortc import RTCSessionDescription
from websockets.sync.client import connect

from test_rotation import LIMIT, SECRET_WORD, Client, gateway_at
from webrtc_peer import Peer

HEADER = "voxgate-resume-token"
ANSWER_MS = 200


@pytest.fixture(scope="module")
def gateway():
    with gateway_at("--answer-ms", str(ANSWER_MS)) as running:
        yield running


@pytest.fixture
def gateway_with_long_answers():
    with gateway_at("--answer-ms", "60000", "--speed", "100") as running:
        yield running


@contextlib.contextmanager
def session(gateway, token=None):
    url = f"ws://{gateway.http}/v1/realtime?model=sim" + (f"&resume={token}" if token else "")
    with connect(url, proxy=None, open_timeout=LIMIT,
                 additional_headers={"Authorization": f"Bearer {gateway.key}"}) as socket:
        client = Client(socket)
        client.token = socket.response.headers[HEADER]
        assert client.token.startswith("vgr_") and len(client.token) == 68
        yield client


def lose(client):
    """The connection is gone without a farewell, as when a phone loses its network."""
    client.socket.socket.shutdown(sockets.SHUT_RDWR)


def refusal(gateway, token):
    with pytest.raises(websockets.InvalidStatus) as refused, session(gateway, token):
        pass
    assert refused.value.response.status_code == 400
    return refused.value.response.body.decode()


def begin(client):
    client.send("session.update", session={"type": "realtime", "instructions": "Be brief."})
    client.wait_for("session.updated")
    chosen = client.write(f"the word is {SECRET_WORD}", id="item_chosen_here")
    _, response = client.answer()
    time.sleep(2 * ANSWER_MS / 1_000)  # It is played: what a lost client has not heard is cut.
    return chosen, response["output"][0]["id"]


def knows(client, chosen, answer):
    created = client.events[0]["session"]
    assert created["instructions"] == "Be brief."
    assert client.retrieve(chosen)["content"][0]["text"] == f"the word is {SECRET_WORD}"
    assert client.retrieve(answer)["role"] == "assistant"
    told, response = client.answer()
    assert response["status"] == "completed"
    assert f"[{chosen} user: the word is {SECRET_WORD}]" in told and f"[{answer} assistant: session" in told
    # What the client says about old items is understood.
    client.send("conversation.item.create", previous_item_id=chosen, item={
        "type": "message", "role": "user", "content": [{"type": "input_text", "text": "and another"}]})
    added = client.wait_for("conversation.item.added")
    assert added["previous_item_id"] == chosen


def test_a_lost_client_finds_its_conversation_again_and_the_model_too(gateway):
    with session(gateway) as client:
        items = begin(client)
        lose(client)
        gateway.wait_for_metric(0, "voxgate_sessions")
        with session(gateway, client.token) as resumed:
            knows(resumed, *items)
            assert resumed.token != client.token
            lose(resumed)
            gateway.wait_for_metric(0, "voxgate_sessions")
            with session(gateway, resumed.token) as again:
                knows(again, *items)
        assert "resume_token_invalid" in refusal(gateway, client.token), "a token works once"


def test_a_client_that_notices_the_loss_first_takes_its_conversation_from_the_old_session(gateway):
    with session(gateway) as client:
        items = begin(client)
        with session(gateway, client.token) as resumed:
            knows(resumed, *items)
            with pytest.raises(websockets.ConnectionClosed):
                client.wait_for("never")
            gateway.wait_for_metric(1, "voxgate_sessions")


def test_only_the_token_of_a_lost_session_resumes_it(gateway):
    assert "resume_token_invalid" in refusal(gateway, "vgr_" + 64 * "0")
    with session(gateway) as client:
        token = client.token
    gateway.wait_for_metric(0, "voxgate_sessions")
    assert "resume_token_invalid" in refusal(gateway, token), "the client ended this session itself"


def test_a_call_that_cannot_be_made_leaves_the_conversation_to_the_next(gateway):
    with session(gateway) as client:
        items = begin(client)
        lose(client)
    gateway.wait_for_metric(0, "voxgate_sessions")
    for offer in ("v=0", ""):
        reply = gateway.ask("POST", f"/v1/realtime/calls?model=sim&resume={client.token}", data=offer,
                            headers={"Content-Type": "application/sdp"})
        assert reply.status_code == 400 and "resume" not in reply.text, reply.text
    with session(gateway, client.token) as resumed:
        knows(resumed, *items)


def test_a_lost_client_has_heard_what_it_had_time_to_play(gateway_with_long_answers):
    gateway = gateway_with_long_answers
    with session(gateway) as client:
        client.write("tell me everything")
        client.send("response.create")
        first = client.wait_for("response.output_audio.delta")
        # All of it is made much faster than it is played.
        done = client.wait_for("response.done")["response"]
        item = done["output"][0]["id"]
        assert first["item_id"] == item
        whole = done["output"][0]["content"][0]["transcript"]
        lose(client)
        gateway.wait_for_metric(0, "voxgate_sessions")
        with session(gateway, client.token) as resumed:
            kept = resumed.retrieve(item)["content"][0]["transcript"]
            assert len(kept) < len(whole) / 2 and whole.startswith(kept), (kept, whole)


async def place(peer, gateway, token=None):
    offer = await peer.offer()
    query = "?model=sim" + (f"&resume={token}" if token else "")
    reply = await asyncio.to_thread(gateway.ask, "POST", f"/v1/realtime/calls{query}", data=offer, headers={
        "Content-Type": "application/sdp", "Origin": "https://example.com"})
    assert reply.status_code == 201, reply.text
    # A page may read it.
    assert HEADER in reply.headers["Access-Control-Expose-Headers"].lower()
    await peer.connection.setRemoteDescription(RTCSessionDescription(reply.text, "answer"))
    await peer.event("session.created")
    return reply.headers[HEADER]


def test_a_caller_whose_network_is_gone_goes_on_in_a_new_call(gateway):
    async def scenario():
        first, second = Peer(), Peer()
        try:
            token = await place(first, gateway)
            first.ask_in_writing(f"the word is {SECRET_WORD}")
            item = (await first.event("conversation.item.done"))["item"]["id"]
            await first.event("output_audio_buffer.stopped")
            first.vanish()
            await place(second, gateway, token)
            second.send({"type": "conversation.item.retrieve", "item_id": item})
            kept = await second.event("conversation.item.retrieved")
            assert SECRET_WORD in kept["item"]["content"][0]["text"]
            second.send({"type": "response.create"})
            await second.answer_is_audible(frames=5)
            done = await second.event("response.done")
            assert f"[{item} user: the word is {SECRET_WORD}]" in done["response"]["output"][0]["content"][0]["transcript"]
            assert second.all("error") == []
        finally:
            await first.close()
            await second.close()

    asyncio.run(scenario())
