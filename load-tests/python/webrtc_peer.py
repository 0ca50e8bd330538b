"""A WebRTC caller made of aiortc, an implementation that shares no code with the gateway's or a browser's."""

import asyncio
import json
import time
from fractions import Fraction

import aioice.ice
import av
import numpy
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError

from conftest import read_wav
from event_stream import LIMIT, EventStream

RATE = 48_000
FRAME = RATE // 50
AUDIBLE_RMS = 100

# Loopback only: aioice leaves it out and offers every other address of the machine instead.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


class Microphone(AudioStreamTrack):
    """Frames of 20 ms at real pace: what was given to it, otherwise silence."""

    def __init__(self):
        super().__init__()
        self.waiting = numpy.zeros(0, dtype="<i2")
        self.silent = asyncio.Event()
        self.sent = 0
        self.began = None

    def say(self, samples):
        self.waiting = numpy.concatenate([self.waiting, samples])
        self.silent.clear()

    async def recv(self):
        if self.readyState != "live":
            raise MediaStreamError
        if self.began is None:
            self.began = time.monotonic()
        await asyncio.sleep(self.began + self.sent * 0.02 - time.monotonic())
        chunk, self.waiting = self.waiting[:FRAME], self.waiting[FRAME:]
        if not len(self.waiting):
            self.silent.set()
        samples = numpy.zeros((1, FRAME), dtype="<i2")
        samples[0, :len(chunk)] = chunk
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = RATE
        frame.time_base = Fraction(1, RATE)
        frame.pts = self.sent * FRAME
        self.sent += 1
        return frame


class Peer(EventStream):
    """One call: what it said, what it was told on its data channels, and how loud the answer is."""

    has_media = True

    def __init__(self):
        super().__init__()
        self.connection = RTCPeerConnection()
        self.microphone = Microphone()
        self.connection.addTrack(self.microphone)
        self.channels = {name: self.connection.createDataChannel(name) for name in ("oai-events", "voxgate")}
        self.measured = []
        # Of the request that places the call, besides its own; and of its answer.
        self.headers = {}
        self.reply_headers = {}
        self.audible_frames = 0
        self.last_audible = 0.0
        self.channels["oai-events"].on("message", self.take)
        self.channels["voxgate"].on("message", self._take_measured)
        self.connection.on("track", lambda track: self._spawn(self._listen(track)))
        self.connection.on("connectionstatechange", lambda: self._spawn(self._notify()))
        for channel in self.channels.values():
            for change in ("open", "close"):
                channel.on(change, lambda: self._spawn(self._notify()))

    def _take_measured(self, text):
        message = json.loads(text)
        if message["type"] == "turn.measured":
            self.measured.append(message)
        self._spawn(self._notify())

    async def _listen(self, track):
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            samples = frame.to_ndarray().astype(numpy.float64)
            if numpy.sqrt(numpy.mean(samples ** 2)) > AUDIBLE_RMS:
                self.audible_frames += 1
                self.last_audible = time.monotonic()
                await self._notify()

    def turns(self):
        """The waterfalls it was told."""
        return [event for event in self.measured if event["type"] == "turn.measured"]

    async def offer(self):
        """The SDP offer of this caller, candidates included."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def place(self, gateway, token=None, model=None, session=None):
        """Posts the offer and takes the answer, without waiting for the connection. Gives the call's path."""
        offer = await self.offer()
        query = f"?model={model}" if model else ""
        request = {"headers": {"Authorization": f"Bearer {token or gateway.key}", **self.headers}}
        if session is None:
            request["data"] = offer
            request["headers"]["Content-Type"] = "application/sdp"
        else:
            request["files"] = {"sdp": (None, offer, "application/sdp"),
                                "session": (None, json.dumps(session), "application/json")}
        reply = await asyncio.to_thread(gateway.ask, "POST", f"/v1/realtime/calls{query}", **request)
        assert reply.status_code == 201, reply.text
        assert reply.headers["Content-Type"] == "application/sdp"
        self.reply_headers = reply.headers
        self.answer = RTCSessionDescription(reply.text, "answer")
        return reply.headers["Location"]

    async def connect(self, gateway, **options):
        """Calls, and waits for `session.created`."""
        location = await self.place(gateway, **options)
        await self.connection.setRemoteDescription(self.answer)
        await self.event("session.created")
        return location

    def send(self, event):
        self.channels["oai-events"].send(event if isinstance(event, (str, bytes)) else json.dumps(event))

    def ask_in_writing(self, text):
        self.send({"type": "conversation.item.create", "item": {
            "type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}})
        self.send({"type": "response.create"})

    def say(self, path):
        self.microphone.say(read_wav(path, RATE))

    async def fallen_silent(self):
        """Everything was said."""
        await asyncio.wait_for(self.microphone.silent.wait(), LIMIT)

    async def answer_is_audible(self, frames=25):
        target = self.audible_frames + frames
        await self.until(lambda: self.audible_frames >= target, "audible sound")

    async def ended(self):
        """The gateway ended the connection."""
        closed = ("closed", "failed")
        await self.until(
            lambda: self.connection.connectionState in closed
            or self.channels["oai-events"].readyState == "closed", "the end of the connection")

    def vanish(self):
        """Stops sending and hearing without a farewell, as a phone without network does."""
        for transceiver in self.connection.getTransceivers():
            for protocol in transceiver.sender.transport.transport._connection._protocols:
                protocol.transport.abort()

    async def close(self):
        await self.connection.close()
        self.stop_tasks()


async def with_peer(act):
    """Gives a new caller to `act` and closes it whatever happens."""
    peer = Peer()
    try:
        return await act(peer)
    finally:
        await peer.close()


def call(act):
    """Runs a scenario of one caller."""
    return asyncio.run(with_peer(act))
