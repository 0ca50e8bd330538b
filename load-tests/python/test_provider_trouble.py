"""What a client sees when the provider behind the gateway fails: a reason it can act on, and an end or a way on."""

import contextlib
import json
import socket as sockets

import pytest
import websockets
from websockets.sync.client import connect

from conftest import running_gateway, start_simulator
from webrtc_peer import call

LIMIT = 120
VENDOR_KEY = "sk-vendor-0123456789abcdef"

# Model name: the simulator's fault, the code of the error, how the session goes on.
FINAL = {
    "refuses-key": (["--refuse", "401"], "provider_refused_key"),
    "refuses-rate": (["--refuse", "429"], "rate_limit_exceeded"),
    "refuses-load": (["--refuse", "503"], "provider_unavailable"),
    "wants-another-key": (["--required-key", "sk-another"], "provider_refused_key"),
    "unreachable": (None, "provider_unreachable"),
}
DURING_AN_ANSWER = {
    "stalls": (["--stall-after-ms", "300"], "provider_stalled"),
}
PASSING = {
    "errs": (["--error-at-response", "rate_limit_exceeded"], "rate_limit_exceeded"),
    "errs-unknown": (["--error-at-response", "strange_trouble"], "strange_trouble"),
}
FAILING = {"fails": (["--fail-response", "server_overloaded"], "server_overloaded")}


@pytest.fixture(scope="module")
def troubled():
    """A gateway with one provider for every kind of trouble."""
    with contextlib.ExitStack() as stack:
        providers, routes = [], []
        for model, (arguments, _) in {**FINAL, **DURING_AN_ANSWER, **PASSING, **FAILING}.items():
            if arguments is None:
                # Bound and never listening: a port nobody else can take, which refuses every connection.
                taken = stack.enter_context(sockets.socket())
                taken.bind(("127.0.0.1", 0))
                address = "127.0.0.1:%d" % taken.getsockname()[1]
            else:
                simulator, address = start_simulator(*arguments)
                stack.callback(simulator.stop)
            # Short where it is what is tried; a provider that is well may be held up on a busy machine.
            stall = "2s" if model in DURING_AN_ANSWER else "20s"
            providers.append(
                f'  {model}: {{ kind: openai-realtime, base_url: "http://{address}/v1", '
                f"api_key_env: VENDOR_KEY, connect_timeout: 10s, stall_timeout: {stall} }}")
            routes.append(f"  - {{ model: {model}, provider: {model} }}")
        config = "\n".join(["providers:", *providers, "routes:", *routes, ""])
        with running_gateway(config, env={"VENDOR_KEY": VENDOR_KEY, "VOXGATE_LOG": "trace"}) as running:
            yield running
            assert VENDOR_KEY not in running.process.output()


@pytest.fixture(autouse=True)
def nothing_is_left(troubled):
    yield
    troubled.assert_nothing_is_left()


class Client:
    """A WebSocket session whose every message is kept."""

    def __init__(self, socket):
        self.socket = socket
        self.events = []
        self.wait_for("session.created")

    def wait_for(self, kind):
        while True:
            text = self.socket.recv(timeout=LIMIT)
            assert VENDOR_KEY not in text
            event = json.loads(text)
            self.events.append(event)
            if event["type"] == kind:
                return event

    def ask(self):
        self.socket.send(json.dumps({"type": "conversation.item.create", "item": {
            "type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}}))
        self.socket.send(json.dumps({"type": "response.create"}))

    def close_code(self):
        with pytest.raises(websockets.ConnectionClosed) as closed:
            while True:
                self.events.append(json.loads(self.socket.recv(timeout=LIMIT)))
        return closed.value.rcvd.code

    def errors(self):
        return [event["error"] for event in self.events if event["type"] == "error"]


@contextlib.contextmanager
def session(gateway, model):
    url = f"ws://{gateway.http}/v1/realtime?model={model}"
    headers = {"Authorization": f"Bearer {gateway.key}"}
    with connect(url, proxy=None, open_timeout=LIMIT, additional_headers=headers) as socket:
        yield Client(socket)


def explains(error, code):
    """An error a developer can act on, which gives nothing of the operator's away."""
    assert error["code"] == code, error
    assert len(error["message"].split()) >= 3, error
    assert error["type"] in ("server_error", "rate_limit_error"), error
    assert VENDOR_KEY not in json.dumps(error)
    return True


@pytest.mark.parametrize("model", FINAL)
def test_a_provider_that_cannot_be_had_ends_the_session_with_one_error(troubled, model):
    before = troubled.metric("voxgate_sessions_ended_total", reason="provider_failed")
    with session(troubled, model) as client:
        assert client.close_code() == 1011
    assert [explains(error, FINAL[model][1]) for error in client.errors()] == [True]
    troubled.wait_for_metric(before + 1, "voxgate_sessions_ended_total", reason="provider_failed")


@pytest.mark.parametrize("model", DURING_AN_ANSWER)
def test_a_provider_that_leaves_during_answers_again_and_again_ends_answers_and_session(troubled, model):
    with session(troubled, model) as client:
        for _ in range(2):
            client.ask()
            client.wait_for("response.done")
        client.ask()
        assert client.close_code() == 1011
    code = DURING_AN_ANSWER[model][1]
    kinds = [event["type"] for event in client.events]
    assert "response.output_audio.delta" in kinds
    assert kinds.index("response.done") < kinds.index("error")
    answers = [event["response"] for event in client.events if event["type"] == "response.done"]
    assert [done["status"] for done in answers] == ["failed"] * 3
    assert {done["status_details"]["error"]["code"] for done in answers} == {code}
    # What was begun is closed, as a client that keeps books expects.
    for part in ("output_item", "content_part"):
        assert kinds.count(f"response.{part}.added") == kinds.count(f"response.{part}.done") == 3
    assert [explains(error, code) for error in client.errors()] == [True]


@pytest.mark.parametrize("model", PASSING)
def test_a_passing_error_leaves_the_session_usable(troubled, model):
    with session(troubled, model) as client:
        client.ask()
        assert explains(client.wait_for("error")["error"], PASSING[model][1])
        client.ask()
        assert client.wait_for("response.done")["response"]["status"] == "completed"
    assert len(client.errors()) == 1


def test_a_failed_answer_leaves_the_session_usable(troubled):
    with session(troubled, "fails") as client:
        client.ask()
        done = client.wait_for("response.done")["response"]
        assert done["status"] == "failed"
        assert done["status_details"]["error"]["code"] == "server_overloaded"
        client.ask()
        assert client.wait_for("response.done")["response"]["status"] == "completed"
    assert client.errors() == []


def test_a_caller_hears_why_the_provider_cannot_be_had_before_the_call_ends(troubled):
    async def scenario(peer):
        await peer.connect(troubled, model="refuses-key")
        await peer.ended()
        return peer

    peer = call(scenario)
    error, = peer.all("error")
    assert explains(error["error"], "provider_refused_key")


def test_a_caller_hears_why_an_answer_breaks_off(troubled):
    async def scenario(peer):
        await peer.connect(troubled, model="stalls")
        # Every connection stalls: two are replaced, the third is the provider's answer.
        for _ in range(3):
            peer.ask_in_writing("hello")
            await peer.answer_is_audible(frames=5)
            await peer.event("response.done")
        await peer.ended()
        return peer

    peer = call(scenario)
    kinds = [event["type"] for event in peer.events]
    assert kinds.count("error") == 1 and "response.done" not in kinds[kinds.index("error"):]
    assert [event["response"]["status"] for event in peer.all("response.done")] == ["failed"] * 3
    assert explains(peer.all("error")[0]["error"], "provider_stalled")
    started = peer.all("output_audio_buffer.started")
    ended = [event for event in peer.events if event["type"] in ("output_audio_buffer.cleared", "output_audio_buffer.stopped")]
    assert [event["response_id"] for event in started] == [event["response_id"] for event in ended]


def test_a_caller_goes_on_after_a_failed_answer(troubled):
    async def scenario(peer):
        await peer.connect(troubled, model="fails")
        peer.ask_in_writing("hello")
        assert (await peer.event("response.done"))["response"]["status"] == "failed"
        peer.ask_in_writing("hello")
        await peer.answer_is_audible()
        assert (await peer.event("response.done"))["response"]["status"] == "completed"

    call(scenario)
