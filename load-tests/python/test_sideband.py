"""Sideband connections of the official SDK beside a WebRTC call, and client secrets bound to some client events."""

import asyncio
import contextlib
import json

import pytest
import websockets
from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner
from openai import AsyncOpenAI
from websockets.asyncio.client import connect as connect_socket

from conftest import gateway_config, running_gateway, start_simulator
from webrtc_peer import call

LIMIT = 120
NOT_FOUND = {"error": {"message": "No session found for the provided call_id", "type": "invalid_request_error",
                       "code": "call_id_not_found", "param": ""}}
TOOL = {"type": "function", "name": "get_weather", "description": "Tells the weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}


class Sideband:
    """What one sideband connection reads, in order."""

    def __init__(self, connection):
        self.connection = connection
        self.events = []
        self.closed = None
        self._changed = asyncio.Condition()
        self._task = asyncio.create_task(self._read())

    async def _read(self):
        try:
            while True:
                self.events.append(await self.connection.recv())
                async with self._changed:
                    self._changed.notify_all()
        except websockets.ConnectionClosed as closed:
            self.closed = closed.rcvd
        async with self._changed:
            self._changed.notify_all()

    async def until(self, is_so, what):
        try:
            async with asyncio.timeout(LIMIT), self._changed:
                await self._changed.wait_for(lambda: is_so() or self._task.done())
        except TimeoutError:
            pass
        assert is_so(), f"{what} never came; the events were {self.types()}"

    async def event(self, kind):
        await self.until(lambda: kind in self.types(), kind)
        return next(event for event in self.events if event.type == kind)

    async def end(self):
        await self.until(lambda: self.closed is not None, "the end")
        return self.closed.code, self.closed.reason

    def types(self):
        return [event.type for event in self.events]


@contextlib.asynccontextmanager
async def attached(gateway, location, key=None):
    """A sideband of the official SDK."""
    client = AsyncOpenAI(api_key=key or gateway.key, base_url=gateway.base)
    async with client.realtime.connect(call_id=location.rsplit("/", 1)[1]) as connection:
        yield Sideband(connection)


async def refused(gateway, call_id, key=None):
    """Status and body of a sideband that is refused before its upgrade."""
    with pytest.raises(websockets.InvalidStatus) as refusal:
        headers = {"Authorization": f"Bearer {key or gateway.key}"}
        await connect_socket(f"ws://{gateway.http}/v1/realtime?call_id={call_id}", proxy=None,
                             additional_headers=headers)
    response = refusal.value.response
    return response.status_code, json.loads(response.body)


def client_secret(gateway, events=None, model="sim-realtime"):
    body = {"session": {"type": "realtime", "model": model}}
    if events is not None:
        body["client"] = {"data_channel": {"allowed_client_events": events}}
    reply = gateway.ask("POST", "/v1/realtime/client_secrets", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.fixture(autouse=True)
def nothing_is_left(gateway):
    yield
    gateway.assert_nothing_is_left()
    gateway.wait_for_metric(0, "voxgate_sidebands")


@pytest.fixture(scope="module")
def short():
    """A gateway whose sessions last ten seconds."""
    simulator, address = start_simulator()
    limits = "limits: { session_duration: 10s, setup_timeout: 1m, silence_timeout: 1m }\n"
    with running_gateway(limits + gateway_config(address)) as running:
        yield running
    simulator.stop()


@pytest.fixture(scope="module")
def hasty():
    """A gateway that gives a silent client three seconds, and one that has not come yet ten."""
    simulator, address = start_simulator()
    limits = "limits: { setup_timeout: 10s, silence_timeout: 3s }\n"
    with running_gateway(limits + gateway_config(address)) as running:
        yield running
    simulator.stop()


def test_a_sideband_sees_what_the_data_channel_sees_and_steers_the_call(gateway):
    async def scenario(peer):
        location = await peer.connect(gateway, model="sim-realtime")
        seen = len(peer.events)
        async with attached(gateway, location) as sideband:
            await sideband.connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
            updated = await peer.event("session.updated")
            assert updated["session"]["instructions"] == "Be brief."
            await sideband.connection.conversation.item.create(item={
                "type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]})
            await sideband.connection.response.create()
            await peer.event("output_audio_buffer.started")
            await peer.answer_is_audible()
            await sideband.connection.response.cancel()
            await sideband.connection.output_audio_buffer.clear()
            await sideband.event("output_audio_buffer.cleared")
            done = await sideband.event("response.done")
            assert done.response.status in ("cancelled", "completed")
            # A marker that both see, so that both have read everything before it.
            await sideband.connection.session.update(session={"type": "realtime", "instructions": "The end."})
            is_end = lambda event: event.type == "session.updated" and event.session.instructions == "The end."
            await sideband.until(lambda: any(is_end(event) for event in sideband.events), "the marker")
            await peer.event("session.updated")
        assert sideband.types()[0] == "session.updated", "no session.created on attach"
        assert [event.event_id for event in sideband.events] == [event["event_id"] for event in peer.events[seen:]]
        # The call goes on without it.
        peer.ask_in_writing("are you there")
        await peer.event("response.created")
        assert peer.all("error") == []

    call(scenario)


def test_a_tool_is_answered_by_the_server_while_the_client_only_listens(gateway):
    async def scenario(peer):
        location = await peer.connect(gateway, model="gpt-realtime")
        async with attached(gateway, location) as sideband:
            await sideband.connection.session.update(session={"type": "realtime", "tools": [TOOL]})
            await peer.event("session.updated")
            peer.ask_in_writing("what is the weather in paris")
            asked = await sideband.event("response.done")
            wanted = asked.response.output[0]
            assert wanted.type == "function_call" and wanted.name == "get_weather"
            await sideband.connection.conversation.item.create(item={
                "type": "function_call_output", "call_id": wanted.call_id, "output": '{"weather": "sunny"}'})
            await sideband.connection.response.create()
            words = await peer.event("response.output_audio_transcript.done")
            assert "sunny" in words["transcript"].lower()
            await peer.until(lambda: peer.audible_frames > 10, "audible sound")
            assert peer.all("error") == [] and "error" not in sideband.types()

    call(scenario)


def test_what_a_sideband_does_wrong_is_told_to_it_alone(gateway):
    async def scenario(peer):
        location = await peer.connect(gateway, model="sim-realtime")
        async with attached(gateway, location) as first, attached(gateway, location) as second:
            await first.connection.response.cancel(event_id="mine")
            error = await first.event("error")
            assert (error.error.code, error.error.event_id) == ("response_cancel_not_active", "mine")
            await first.connection.input_audio_buffer.append(audio="AAAA")
            await first.until(lambda: first.types().count("error") == 2, "a second error")
            await second.connection.session.update(session={"type": "realtime", "instructions": "x"})
            await peer.event("session.updated")
            await second.event("session.updated")
            assert "error" not in second.types() and peer.all("error") == []

    call(scenario)


def test_a_sideband_is_told_how_its_call_ended(gateway):
    async def hung_up(peer):
        location = await peer.connect(gateway, model="sim-realtime")
        async with attached(gateway, location) as sideband:
            reply = await asyncio.to_thread(gateway.ask, "POST", f"{location}/hangup")
            assert reply.status_code == 200
            assert await sideband.end() == (1000, "The call was hung up.")
            assert sideband.types() == []

    async def closed(peer):
        location = await peer.connect(gateway, model="sim-realtime")
        async with attached(gateway, location) as sideband:
            await peer.connection.close()
            assert await sideband.end() == (1000, "The client ended the call.")

    call(hung_up)
    call(closed)


def test_a_sideband_of_a_call_that_expires_or_loses_its_client_reads_why(short, hasty):
    async def expired(peer):
        location = await peer.connect(short, model="sim-realtime")
        async with attached(short, location) as sideband:
            error = await sideband.event("error")
            assert error.error.code == "session_expired"
            assert await sideband.end() == (1001, "Your session hit the maximum duration of 10 seconds.")

    async def lost(peer):
        location = await peer.connect(hasty, model="sim-realtime")
        async with attached(hasty, location) as sideband:
            peer.vanish()
            assert await sideband.end() == (1001, "The client of the call is gone.")

    async def never_connected(peer):
        location = await peer.place(hasty, model="sim-realtime")
        async with attached(hasty, location) as sideband:
            await sideband.connection.session.update(session={"type": "realtime", "instructions": "Early."})
            updated = await sideband.event("session.updated")
            assert updated.session.instructions == "Early."
            assert await sideband.end() == (1001, "The call was not set up in time.")

    call(lost)
    call(never_connected)
    call(expired)
    for gateway in (short, hasty):
        gateway.assert_nothing_is_left()


def test_only_the_api_key_attaches_and_only_to_a_live_call(gateway):
    secret = client_secret(gateway)["value"]

    async def scenario(peer):
        location = await peer.connect(gateway, token=secret)
        call_id = location.rsplit("/", 1)[1]
        assert await refused(gateway, call_id, secret) == (404, NOT_FOUND)
        assert await refused(gateway, "rtc_nobody") == (404, NOT_FOUND)
        async with attached(gateway, location):
            pass
        await asyncio.to_thread(gateway.ask, "POST", f"{location}/hangup")
        await peer.ended()
        assert await refused(gateway, call_id) == (404, NOT_FOUND)

    call(scenario)


def test_a_call_has_room_for_four_sidebands(gateway):
    async def scenario(peer):
        location = await peer.connect(gateway, model="sim-realtime")
        call_id = location.rsplit("/", 1)[1]
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(3):
                await stack.enter_async_context(attached(gateway, location))
            async with attached(gateway, location):
                status, body = await refused(gateway, call_id)
                assert (status, body["error"]["code"]) == (429, "rate_limit_exceeded")
            await asyncio.to_thread(gateway.wait_for_metric, 3, "voxgate_sidebands")
            async with attached(gateway, location) as again:
                await again.connection.session.update(session={"type": "realtime"})
                await again.event("session.updated")

    call(scenario)


def test_a_sideband_that_does_not_read_is_closed_and_holds_up_nobody(gateway):
    headers = {"Authorization": f"Bearer {gateway.key}"}

    async def scenario(peer):
        location = await peer.connect(gateway, model="sim-realtime")
        url = f"ws://{gateway.http}/v1/realtime?call_id={location.rsplit('/', 1)[1]}"
        # One message is taken from the network and no more, until somebody reads.
        idle = await connect_socket(url, proxy=None, additional_headers=headers, max_size=None, max_queue=1,
                                    ping_interval=None)
        async with attached(gateway, location) as busy:
            for at in range(40):
                # Longer than what this caller takes on its data channel, so that only the sidebands read it.
                text = "x" * 700_000
                await busy.connection.conversation.item.create(item={
                    "id": f"item_{at}", "type": "message", "role": "user",
                    "content": [{"type": "input_text", "text": text}]})
                await busy.until(lambda: busy.types().count("conversation.item.done") == at + 1, f"item {at}")
                await busy.connection.conversation.item.delete(item_id=f"item_{at}")
                # What was decided is told to who reads within some seconds, and no longer.
                if await asyncio.to_thread(gateway.metric, "voxgate_sidebands") == 1:
                    break
            peer.ask_in_writing("are you there")
            await peer.event("response.created")
        with pytest.raises(websockets.ConnectionClosed) as closed:
            async with asyncio.timeout(LIMIT):
                while True:
                    await idle.recv()
        rcvd = closed.value.rcvd
        assert rcvd is None or (rcvd.code == 1008 and "not read fast enough" in rcvd.reason)
        await asyncio.to_thread(gateway.wait_for_metric, 0, "voxgate_sidebands")

    call(scenario)


def test_a_bound_client_secret_keeps_its_holder_to_some_events(gateway):
    made = client_secret(gateway, ["response.create", "conversation.item.create"])
    names = made["client"]["data_channel"]["allowed_client_events"]
    assert sorted(names) == ["conversation.item.create", "response.create"]

    async def scenario(peer):
        location = await peer.connect(gateway, token=made["value"])
        peer.send({"type": "session.update", "event_id": "u", "session": {"type": "realtime", "instructions": "x"}})
        error = (await peer.event("error"))["error"]
        assert (error["code"], error["event_id"]) == ("event_not_allowed", "u")
        peer.ask_in_writing("hello")
        await peer.event("response.created")
        async with attached(gateway, location) as sideband:
            await sideband.connection.session.update(session={"type": "realtime", "instructions": "x"})
            assert (await peer.event("session.updated"))["session"]["instructions"] == "x"

    async def with_a_session_of_its_own(peer):
        files = {"sdp": (None, await peer.offer(), "application/sdp"),
                 "session": (None, '{"type": "realtime", "instructions": "mine"}', "application/json")}
        reply = gateway.ask("POST", "/v1/realtime/calls", files=files,
                            headers={"Authorization": f"Bearer {made['value']}"})
        assert reply.status_code == 400 and reply.json()["error"]["code"] == "event_not_allowed"

    async def over_a_websocket():
        headers = {"Authorization": f"Bearer {made['value']}"}
        async with connect_socket(f"ws://{gateway.http}/v1/realtime", proxy=None, additional_headers=headers) as client:
            assert json.loads(await client.recv())["type"] == "session.created"
            await client.send('{"type": "session.update", "event_id": "w", "session": {"type": "realtime"}}')
            assert json.loads(await client.recv())["error"]["code"] == "event_not_allowed"

    call(scenario)
    call(with_a_session_of_its_own)
    asyncio.run(over_a_websocket())


def test_the_strict_agents_sdk_works_as_a_sideband(gateway):
    asked = []

    @function_tool
    def get_weather(city: str = "") -> str:
        """Tells the weather of a city."""
        asked.append(city)
        return "sunny"

    async def scenario(peer):
        location = await peer.connect(gateway, model="gpt-realtime")
        call_id = location.rsplit("/", 1)[1]
        runner = RealtimeRunner(starting_agent=RealtimeAgent(name="Host", tools=[get_weather]))
        options = {"api_key": gateway.key, "call_id": call_id,
                   "url": f"ws://{gateway.http}/v1/realtime?call_id={call_id}"}
        errors = []
        async with await runner.run(model_config=options) as session:
            async def watch():
                async for event in session:
                    if event.type == "error":
                        errors.append(event.error)

            watching = asyncio.create_task(watch())
            await peer.event("session.updated", lambda event: event["session"]["tools"] != [])
            peer.ask_in_writing("what is the weather in paris")
            await peer.event("response.output_audio_transcript.done",
                             lambda event: "sunny" in event["transcript"].lower())
            await peer.until(lambda: peer.audible_frames > 10, "audible sound")
            watching.cancel()
        # An event its models cannot parse would have come out as an error.
        assert errors == [] and asked and peer.all("error") == []

    call(scenario)


def test_a_websocket_session_that_expires_is_closed_with_the_words_of_the_api(short):
    async def run():
        headers = {"Authorization": f"Bearer {short.key}"}
        url = f"ws://{short.http}/v1/realtime?model=sim-realtime"
        async with connect_socket(url, proxy=None, additional_headers=headers) as client:
            with pytest.raises(websockets.ConnectionClosed) as closed:
                async with asyncio.timeout(LIMIT):
                    while True:
                        last = json.loads(await client.recv())
        words = "Your session hit the maximum duration of 10 seconds."
        assert (last["error"]["code"], last["error"]["message"]) == ("session_expired", words)
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, words)

    asyncio.run(run())
