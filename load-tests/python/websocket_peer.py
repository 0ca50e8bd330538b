"""A WebSocket client made of the official `openai` package, with a microphone that never rests."""

import asyncio
import base64
import json
import time

import numpy
import websockets
from openai import AsyncOpenAI

from conftest import read_wav
from event_stream import LIMIT, EventStream

RATE = 24_000
FRAME = RATE // 50


class SocketPeer(EventStream):
    """One session: the same words as the caller of `webrtc_peer`, so that a script can be played with either."""

    has_media = False

    def __init__(self):
        super().__init__()
        self.audio_bytes = 0
        self.waiting = numpy.zeros(0, dtype="<i2")
        self.silent = asyncio.Event()
        self.outgoing = asyncio.Queue()
        self.client = self.connection = None

    async def connect(self, gateway, **options):
        """Connects, and waits for `session.created`."""
        self.client = AsyncOpenAI(api_key=gateway.key, base_url=gateway.base)
        self.connection = await self.client.realtime.connect(**options).enter()
        for work in (self._listen(), self._send_all(), self._speak()):
            self._spawn(work)
        await self.event("session.created")

    async def _listen(self):
        try:
            while True:
                self.take((await self.connection.recv_bytes()).decode())
                if self.events[-1]["type"] == "response.output_audio.delta":
                    self.audio_bytes += len(base64.b64decode(self.events[-1]["delta"]))
        except websockets.ConnectionClosed:
            return

    async def _send_all(self):
        while True:
            await self.connection.send_raw(await self.outgoing.get())

    async def _speak(self):
        began = time.monotonic()
        for frame in range(1_000_000):
            await asyncio.sleep(began + frame * 0.02 - time.monotonic())
            chunk, self.waiting = self.waiting[:FRAME], self.waiting[FRAME:]
            samples = numpy.zeros(FRAME, dtype="<i2")
            samples[:len(chunk)] = chunk
            self.send({"type": "input_audio_buffer.append", "audio": base64.b64encode(samples.tobytes()).decode()})
            if not len(self.waiting):
                self.silent.set()

    def send(self, event):
        self.outgoing.put_nowait(event if isinstance(event, str) else json.dumps(event))

    def say(self, path):
        self.waiting = numpy.concatenate([self.waiting, read_wav(path, RATE)])
        self.silent.clear()

    async def fallen_silent(self):
        """Everything was said."""
        await asyncio.wait_for(self.silent.wait(), LIMIT)

    async def answer_is_audible(self, frames=25):
        target = self.audio_bytes + frames * 2 * FRAME
        await self.until(lambda: self.audio_bytes >= target, "audio of the answer")

    async def close(self):
        self.stop_tasks()
        if self.connection:
            await self.connection.close()
            await self.client.close()
