"""A WebRTC call that is steered from beside: the official `openai` package attached to it by its call id."""

import asyncio
import json

import websockets
from openai import AsyncOpenAI

from event_stream import EventStream
from webrtc_peer import Peer


class SidebandPeer(EventStream):
    """The caller only speaks and hears; every event is sent and read by the sideband."""

    has_media = True

    def __init__(self):
        super().__init__()
        self.caller = Peer()
        self.outgoing = asyncio.Queue()
        self.client = self.connection = None

    async def connect(self, gateway, **options):
        """Calls, and attaches to the call once it stands."""
        location = await self.caller.connect(gateway, **options)
        self.client = AsyncOpenAI(api_key=gateway.key, base_url=gateway.base)
        self.connection = await self.client.realtime.connect(call_id=location.rsplit("/", 1)[1]).enter()
        self._spawn(self._listen())
        self._spawn(self._send_all())

    async def _listen(self):
        try:
            while True:
                self.take((await self.connection.recv_bytes()).decode())
        except websockets.ConnectionClosed:
            return

    async def _send_all(self):
        while True:
            await self.connection.send_raw(await self.outgoing.get())

    def send(self, event):
        self.outgoing.put_nowait(event if isinstance(event, str) else json.dumps(event))

    def say(self, path):
        self.caller.say(path)

    async def fallen_silent(self):
        await self.caller.fallen_silent()

    async def answer_is_audible(self, frames=25):
        await self.caller.answer_is_audible(frames)

    async def close(self):
        self.stop_tasks()
        if self.connection:
            await self.connection.close()
            await self.client.close()
        await self.caller.close()
