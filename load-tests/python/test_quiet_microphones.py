"""Microphones that fall silent in the middle of a word without sending silence: the turn ends all the same."""

import asyncio

import pytest

from conftest import gateway_config, running_gateway, start_simulator
from webrtc_peer import FRAME, Microphone, call


class Gate(Microphone):
    """A microphone that can be closed: no packet leaves, or one every 400 ms, as DTX sends them."""

    def __init__(self):
        super().__init__()
        self.open = asyncio.Event()
        self.open.set()
        self.heartbeat = False

    def close(self, heartbeat=False):
        self.heartbeat = heartbeat
        self.open.clear()

    async def recv(self):
        if not self.open.is_set():
            self.waiting = self.waiting[:0]
            if self.heartbeat:
                # Time goes on in between, and with it the RTP timestamp.
                self.sent += 19
            else:
                await self.open.wait()
        return await super().recv()


# Long: there is more to say when a busy machine has noticed that somebody speaks.
REQUEST = ("I would like to book a table for two people tomorrow evening at eight and I would like it to be at a window because my "
           "mother comes to visit and she likes to look at the boats in the harbour")


@pytest.fixture(scope="module")
def quiet_gateway():
    """A gateway that finds the turns itself."""
    simulator, address = start_simulator("--answer-ms", "1000")
    with running_gateway(gateway_config(address, turn_detection="gateway")) as running:
        yield running
    simulator.stop()


def spoken_until_closed(gateway, speak, close):
    """The events after a microphone was closed in the middle of a question."""

    async def scenario(peer):
        gate = Gate()
        sender, = peer.connection.getSenders()
        sender.replaceTrack(gate)
        peer.microphone = gate
        await peer.connect(gateway, model="sim-voice")
        peer.say(speak(REQUEST))
        await peer.event("input_audio_buffer.speech_started")
        assert len(gate.waiting) > 10 * FRAME, "there is more to say"
        await close(peer, gate)
        stopped = await peer.event("input_audio_buffer.speech_stopped")
        await peer.event("input_audio_buffer.committed")
        await peer.event("output_audio_buffer.started")
        return stopped

    return call(scenario)


def test_a_track_without_packets_ends_the_turn(quiet_gateway, speak):
    async def mute(_peer, gate):
        gate.close()

    spoken_until_closed(quiet_gateway, speak, mute)


def test_dtx_ends_the_turn(quiet_gateway, speak):
    async def fall_silent(_peer, gate):
        gate.close(heartbeat=True)

    spoken_until_closed(quiet_gateway, speak, fall_silent)


def test_a_replaced_track_ends_the_turn_and_its_own_turns_are_heard(quiet_gateway, speak):
    async def scenario(peer):
        await peer.connect(quiet_gateway, model="sim-voice")
        peer.say(speak(REQUEST))
        await peer.event("input_audio_buffer.speech_started")
        sender, = peer.connection.getSenders()
        peer.microphone = Microphone()
        sender.replaceTrack(peer.microphone)
        await peer.event("input_audio_buffer.speech_stopped")
        first = await peer.event("input_audio_buffer.committed")
        peer.say(speak("what time is it"))
        second = await peer.event("input_audio_buffer.committed")
        assert second["previous_item_id"] and second["item_id"] != first["item_id"]

    call(scenario)
