"""What a client gets that does it wrong: the API's own error shape, a stable code, and a gateway that goes on."""

import asyncio
import contextlib
import http.client
import json
import socket as sockets

import pytest
import websockets
from websockets.sync.client import connect

from conftest import HTTP, running_gateway, start_simulator
from webrtc_peer import Peer, call

LIMIT = 120
OFFER = {"Content-Type": "application/sdp"}
CALLS = "/v1/realtime/calls"
SECRETS = "/v1/realtime/client_secrets"


@pytest.fixture(scope="module")
def narrow():
    """A gateway with room for one session and with no route for most models."""
    simulator, address = start_simulator()
    config = f"""
limits: {{ sessions: 1 }}
default_model: sim-realtime
providers:
  sim: {{ kind: openai-realtime, base_url: "http://{address}/v1" }}
routes:
  - {{ model: "sim*", provider: sim }}
"""
    with running_gateway(config) as running:
        yield running
    simulator.stop()


@pytest.fixture(autouse=True)
def nothing_is_left(narrow):
    yield
    narrow.assert_nothing_is_left()


@pytest.fixture(scope="module")
def offer():
    """An offer nothing is wrong with."""
    async def make():
        peer = Peer()
        sdp = await peer.offer()
        await peer.close()
        return sdp

    return asyncio.run(make())


def refusal(reply, status):
    """The error of a refused request, after a look at its shape."""
    assert reply.status_code == status, (reply.status_code, reply.text)
    return checked(reply.json())


def checked(body):
    assert set(body) == {"error"}
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].strip() and error["type"] and error["code"]
    return error


@contextlib.contextmanager
def socket(gateway, model="sim-realtime", **options):
    """A WebSocket session after its first event."""
    options = {"additional_headers": {"Authorization": f"Bearer {gateway.key}"}, **options}
    url = f"ws://{gateway.http}/v1/realtime?model={model}"
    with connect(url, proxy=None, open_timeout=LIMIT, **options) as client:
        assert receive(client)["type"] == "session.created"
        yield client


def receive(client):
    return json.loads(client.recv(timeout=LIMIT))


def refused_socket(gateway, status, query="?model=sim-realtime", **options):
    with pytest.raises(websockets.InvalidStatus) as refused:
        connect(f"ws://{gateway.http}/v1/realtime{query}", proxy=None, open_timeout=LIMIT, **options)
    assert refused.value.response.status_code == status
    return checked(json.loads(refused.value.response.body))


def without_audio(sdp):
    session, *media = sdp.split("m=")
    return session + "".join(f"m={section}" for section in media if not section.startswith("audio"))


@pytest.mark.parametrize("spoil", [
    lambda sdp: "",
    lambda sdp: "this is no offer",
    lambda sdp: "v=0\r\n",
    lambda sdp: sdp.replace("m=audio", "m=audio audio audio"),
    without_audio,
    lambda sdp: sdp.replace("opus/48000/2", "speex/16000"),
    lambda sdp: "\r\n".join(line for line in sdp.split("\r\n") if not line.startswith("a=ice-ufrag")),
    lambda sdp: "\r\n".join(line for line in sdp.split("\r\n") if not line.startswith("a=fingerprint")),
    lambda sdp: sdp.replace("a=setup:actpass", "a=setup:passive"),
    lambda sdp: sdp.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
    lambda sdp: sdp + "a=x:" + "y" * 100_000 + "\r\n",
], ids=["empty", "prose", "too short", "malformed media line", "no audio", "no opus", "no ufrag", "no fingerprint",
        "wrong role", "no DTLS", "too large"])
def test_an_offer_that_cannot_become_a_call_is_refused_with_a_reason(narrow, offer, spoil):
    spoilt = spoil(offer)
    assert spoilt != offer
    error = refusal(narrow.ask("POST", CALLS, data=spoilt, headers=OFFER), 400)
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "invalid_offer", "sdp")


@pytest.mark.parametrize("method, path, request_options, status, code, param", [
    ("POST", CALLS, {"data": b"\xff\xfe", "headers": OFFER}, 400, "invalid_value", "sdp"),
    ("POST", CALLS, {"data": "v=0", "headers": {"Content-Type": "text/plain"}}, 415, "unsupported_content_type", None),
    ("POST", CALLS, {"data": "v=0"}, 415, "unsupported_content_type", None),
    ("POST", CALLS, {"data": b"x" * (1 << 20) + b"x", "headers": OFFER}, 413, "request_too_large", None),
    ("POST", CALLS, {"data": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, 400,
     "invalid_value", "sdp"),
    ("POST", CALLS, {"data": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "invalid_value", "sdp"),
    ("POST", CALLS, {"files": {"session": (None, '{"type":"realtime"}')}}, 400, "missing_required_parameter", "sdp"),
    ("POST", CALLS, {"files": {"sdp": (None, "v=0"), "session": (None, "not json")}}, 400, "invalid_json", None),
    ("POST", CALLS, {"files": {"sdp": (None, "v=0"), "session": (None, "[" * 5_000)}}, 400, "invalid_event", None),
    ("POST", CALLS, {"files": {"sdp": (None, "v=0"), "session": (None, '{"type":"realtime","voice":"x"}')}}, 400,
     "unknown_parameter", "session.voice"),
    ("POST", f"{CALLS}?model=gpt-4o", {"data": "v=0", "headers": OFFER}, 404, "model_not_found", "model"),
    ("POST", f"{CALLS}?model=sim%00", {"data": "v=0", "headers": OFFER}, 404, "model_not_found", "model"),
    ("POST", f"{CALLS}?model=a&model=b", {"data": "v=0", "headers": OFFER}, 400, "invalid_value", "query"),
    ("POST", f"{CALLS}/rtc_nobody/hangup", {}, 404, "call_id_not_found", ""),
    ("POST", f"{CALLS}/%ff/hangup", {}, 404, "call_id_not_found", ""),
    ("POST", SECRETS, {"data": "{"}, 400, "invalid_json", None),
    ("POST", SECRETS, {"json": {"sesion": {}}}, 400, "unknown_parameter", "sesion"),
    ("POST", SECRETS, {"json": {"expires_after": {"seconds": 9}}}, 400, "invalid_value", "expires_after.seconds"),
    ("POST", SECRETS, {"json": {"session": {"type": "realtime", "model": "gpt-4o"}}}, 404, "model_not_found", "model"),
    ("POST", SECRETS, {"data": b"x" * (1 << 20) + b"x"}, 413, "request_too_large", None),
    ("GET", CALLS, {}, 404, "unknown_url", None),
    ("GET", "/v1/nothing", {}, 404, "unknown_url", None),
    ("GET", "/v1/realtime", {}, 400, "websocket_required", None),
])
def test_a_wrong_request_is_refused_in_the_shape_of_the_api(
        narrow, method, path, request_options, status, code, param):
    error = refusal(narrow.ask(method, path, **request_options), status)
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)


@pytest.mark.parametrize("authorization", [None, "Bearer vg_wrong", "Bearer ek_unknown", "Basic dm94", "Bearer"])
@pytest.mark.parametrize("method, path", [
    ("POST", CALLS), ("POST", SECRETS), ("POST", f"{CALLS}/rtc_x/hangup"), ("GET", "/v1/realtime"),
    ("GET", "/v1/realtime?model=a&model=b")])
def test_nobody_gets_further_than_the_door_without_a_valid_key(narrow, method, path, authorization):
    error = refusal(narrow.ask(method, path, headers={"Authorization": authorization}), 401)
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")


def test_a_refused_request_leaves_the_connection_for_the_next_one_whatever_its_body(narrow):
    connection = http.client.HTTPConnection(narrow.http, timeout=LIMIT)
    connection.connect()
    # Whoever finds the connection closed is not given another one.
    connection.auto_open = False
    for method, path in [("POST", CALLS), ("POST", SECRETS), ("POST", "/admin/v1/organisations"), ("POST", "/v1/nothing")] * 3:
        connection.request(method, path, body=b"x" * 700_000, headers={"Authorization": "Bearer vg_wrong"})
        reply = connection.getresponse()
        assert reply.status in (401, 404, 429) and reply.read() and not reply.will_close, path
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize("header", ["Content-Length: 9", "Content-Length: 9\r\nExpect: 100-continue"])
def test_the_answer_to_a_request_whose_body_never_comes_says_that_the_connection_closes(narrow, header):
    address, port = narrow.http.split(":")
    with sockets.create_connection((address, int(port)), timeout=LIMIT) as client:
        client.sendall(f"POST {SECRETS} HTTP/1.1\r\nHost: {narrow.http}\r\n{header}\r\n\r\n".encode())
        answer = client.makefile("rb").read().decode()
    assert answer.startswith("HTTP/1.1 401 ") and "\r\nconnection: close\r\n" in answer.lower(), answer


def test_refused_sessions_are_counted_by_their_code(narrow):
    labels = {"code": "invalid_offer"}
    before = narrow.metric("voxgate_sessions_refused_total", **labels)
    refusal(narrow.ask("POST", CALLS, data="v=0\r\n", headers=OFFER), 400)
    assert narrow.metric("voxgate_sessions_refused_total", **labels) == before + 1


def test_a_full_gateway_says_so_and_takes_the_next_session_when_one_ends(narrow, offer):
    with socket(narrow):
        error = refusal(narrow.ask("POST", CALLS, data=offer, headers=OFFER), 429)
        assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        headers = {"Authorization": f"Bearer {narrow.key}"}
        assert refused_socket(narrow, 429, additional_headers=headers)["code"] == "rate_limit_exceeded"
    narrow.wait_for_metric(0, "voxgate_sessions")
    with socket(narrow):
        pass


def test_a_websocket_is_refused_before_its_upgrade(narrow):
    assert refused_socket(narrow, 401)["code"] == "invalid_api_key"
    wrong = ["realtime", "openai-insecure-api-key.vg_wrong"]
    assert refused_socket(narrow, 401, subprotocols=wrong)["code"] == "invalid_api_key"
    empty = ["realtime", "openai-insecure-api-key."]
    assert refused_socket(narrow, 401, subprotocols=empty)["code"] == "invalid_api_key"
    right = {"additional_headers": {"Authorization": f"Bearer {narrow.key}"}}
    assert refused_socket(narrow, 404, "?model=gpt-4o", **right)["code"] == "model_not_found"
    assert refused_socket(narrow, 404, "?call_id=rtc_nobody", **right)["code"] == "call_id_not_found"
    assert refused_socket(narrow, 400, "?intent=dictation", **right)["param"] == "intent"


def test_a_browsers_key_comes_as_a_subprotocol_that_is_not_echoed(narrow):
    offered = ["realtime", f"openai-insecure-api-key.{narrow.key}"]
    with socket(narrow, additional_headers={}, subprotocols=offered) as client:
        assert client.subprotocol == "realtime"


def test_a_browser_of_any_origin_may_call_and_read_where_its_call_is(narrow, offer):
    wanted = "authorization,content-type,x-openai-agents-sdk"
    preflight = HTTP.options(f"http://{narrow.http}{CALLS}", timeout=LIMIT, headers={
        "Origin": "https://app.example", "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": wanted})
    assert preflight.status_code == 200
    allowed = preflight.headers["Access-Control-Allow-Headers"].lower().split(",")
    assert set(wanted.split(",")) <= set(allowed)
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    reply = narrow.ask("POST", CALLS, data=offer, headers={**OFFER, "Origin": "https://app.example"})
    assert reply.status_code == 201, reply.text
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    assert "location" in reply.headers["Access-Control-Expose-Headers"].lower()
    assert narrow.ask("POST", f"{reply.headers['Location']}/hangup").status_code == 200


BAD_MESSAGES = [
    ("not json", "invalid_event", None),
    ("", "invalid_event", None),
    ("[]", "invalid_event", None),
    ("null", "invalid_event", None),
    ("{}", "missing_required_parameter", "type"),
    ('{"type": 7}', "invalid_type", "type"),
    ('{"type": "no.such.event"}', "invalid_value", "type"),
    ('{"a":' * 70 + "1" + "}" * 70, "invalid_event", None),
    ("[" + "1," * 60_000 + "1]", "invalid_event", None),
    ('{"type": "session.update"}', "missing_required_parameter", "session"),
    ('{"type": "session.update", "session": {"type": "realtime", "voice": "x"}}', "unknown_parameter", "session.voice"),
    ('{"type": "session.update", "session": {"type": "realtime", "audio": {"output": {"voice": 7}}}}',
     "invalid_type", "session.audio.output.voice"),
    ('{"type": "input_audio_buffer.append", "audio": "%%%"}', None, None),
    ('{"type": "conversation.item.truncate", "item_id": "item_x"}', "missing_required_parameter", "content_index"),
    ('{"type": "conversation.item.retrieve", "item_id": "item_x"}', None, None),
    ('{"type": "response.create", "response": []}', "invalid_type", "response"),
]
IDS = ["prose", "empty", "array", "null", "no type", "wrong type", "unknown", "deep", "countless", "no session",
       "unknown field", "wrong field type", "no base64", "half a truncation", "unknown item", "response of wrong type"]


def error_of(event, code, param):
    assert event["type"] == "error", event
    error = event["error"]
    assert set(error) == {"message", "type", "param", "code", "event_id"}
    assert error["type"] == "invalid_request_error" and error["message"].strip() and error["code"]
    if code:
        assert (error["code"], error["param"]) == (code, param)
    return error


def test_a_websocket_session_survives_every_kind_of_bad_message(narrow):
    with socket(narrow) as client:
        for message, code, param in BAD_MESSAGES:
            client.send(message)
            error_of(receive(client), code, param)
        client.send(b"\x00\x01")
        error_of(receive(client), "invalid_event", None)
        client.send(json.dumps({"type": "x", "padding": "x" * (21 << 20)}))
        error_of(receive(client), "invalid_event", None)
        client.send(json.dumps({"type": "no.such.event", "event_id": "mine"}))
        assert error_of(receive(client), "invalid_value", "type")["event_id"] == "mine"
        client.send(json.dumps({"type": "session.update", "session": {"type": "realtime", "instructions": "Go on."}}))
        assert receive(client)["session"]["instructions"] == "Go on."


def test_a_websocket_message_beyond_all_limits_ends_the_session(narrow):
    before = narrow.metric("voxgate_sessions_ended_total", reason="client_lost")
    with socket(narrow, max_size=None) as client, pytest.raises(websockets.ConnectionClosed) as closed:
        client.send("x" * (23 << 20))
        client.recv(timeout=LIMIT)
    # What was still being sent when the gateway closed may reset the connection before the reason arrives.
    if closed.value.rcvd:
        assert closed.value.rcvd.code == 1008 and "too long" in closed.value.rcvd.reason, closed.value
    narrow.wait_for_metric(before + 1, "voxgate_sessions_ended_total", reason="client_lost")


def test_a_data_channel_session_survives_every_kind_of_bad_message(narrow):
    async def scenario(peer):
        await peer.connect(narrow)
        for message, code, param in BAD_MESSAGES:
            peer.send(message)
            error_of(await peer.event("error"), code, param)
        peer.send({"type": "input_audio_buffer.append", "audio": "AAAA"})
        error_of(await peer.event("error"), "invalid_event", None)
        # None of these is part of the protocol; all are left unanswered.
        peer.send(b"\x00\x01")
        peer.channels["voxgate"].send("not json")
        peer.channels["voxgate"].send(json.dumps({"type": "client.report", "round_trip_ms": -1, "playout_ms": 1e300}))
        peer.send({"type": "session.update", "session": {"type": "realtime", "instructions": "Go on."}})
        updated = await peer.event("session.updated")
        assert updated["session"]["instructions"] == "Go on."

    call(scenario)


def test_a_data_channel_message_beyond_what_the_answer_allows_is_dropped(narrow):
    async def scenario(peer):
        await peer.connect(narrow)
        # A caller that ignores `a=max-message-size` of the answer.
        peer.connection.sctp._remote_max_message_size = 0
        peer.send(json.dumps({"type": "x", "padding": "x" * 600_000}))
        peer.send({"type": "no.such.event", "event_id": "next"})
        assert (await peer.event("error"))["error"]["event_id"] == "next"
        assert len(peer.all("error")) == 1

    call(scenario)
