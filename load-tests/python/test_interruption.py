"""What is said over an answer, with `conversation.interruption` configured: noises leave it whole, speech cuts it."""

import asyncio
import wave

import numpy
import pytest
from aiortc.mediastreams import MediaStreamError

from conftest import gateway_config, read_wav, running_gateway, start_simulator
from webrtc_peer import AUDIBLE_RMS, FRAME, RATE, Peer

TURNS = 6
RULE = "conversation: { interruption: { minimum_speech: 600ms, resume_after: 500ms } }\n"

# The answer climbs a stair of tones, so that what was heard of it can be told from the recording.
STEP_SECONDS = 0.2
STEP_FRAMES = round(STEP_SECONDS * 50)
STEPS = 60
LOWEST_HZ = 300
STEP_HZ = 40


# No sound for this long is a held answer; after a noise it is held for half a second or more.
HELD_SECONDS = 0.4


class Listener(Peer):
    """Keeps what it hears, frame by frame, and counts how often sound went on after it had stopped."""

    def __init__(self):
        super().__init__()
        self.heard = []
        self.resumed = 0
        self._audible_at = None

    async def _listen(self, track):
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            channels = len(frame.layout.channels)
            samples = frame.to_ndarray().astype(numpy.float64).reshape(-1, channels)[:, 0]
            self.heard.append(samples)
            if numpy.sqrt(numpy.mean(samples ** 2)) > AUDIBLE_RMS:
                self.audible_frames += 1
                # By the clock of the sound: a busy machine may be late to look at it.
                now = frame.pts / frame.sample_rate
                self.resumed += self._audible_at is not None and now - self._audible_at > HELD_SECONDS
                self._audible_at = now
            await self._notify()

    async def answer_goes_on(self, resumed):
        await self.until(lambda: self.resumed > resumed, "the rest of a held answer")
        await self.answer_is_audible(40)


def write_stair(path, rate=24_000):
    hz = LOWEST_HZ + STEP_HZ * numpy.repeat(numpy.arange(STEPS), int(STEP_SECONDS * rate))
    samples = (8_000 * numpy.sin(2 * numpy.pi * numpy.cumsum(hz) / rate)).astype("<i2")
    with wave.open(str(path), "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(rate)
        target.writeframes(samples.tobytes())


def step_of(samples):
    """The step a frame sounds with; None if it is silent."""
    if numpy.sqrt(numpy.mean(samples ** 2)) <= AUDIBLE_RMS:
        return None
    spectrum = numpy.abs(numpy.fft.rfft(samples * numpy.hanning(len(samples)), 16_384))
    hz = numpy.argmax(spectrum) * RATE / 16_384
    return round((hz - LOWEST_HZ) / STEP_HZ)


def stairs(heard):
    """The answers heard: for each how many frames every step sounded, by the step's number."""
    answers = []
    highest = STEPS
    for step in filter(lambda step: step is not None, map(step_of, heard)):
        if step <= 1 < highest - 1:
            answers.append([0] * (STEPS + 2))
        highest = max(highest, step) if step > 1 else step
        if answers and 0 <= step < STEPS + 2:
            answers[-1][step] += 1
    return answers


def short_sound(path):
    """The loudest quarter of a second of a sentence."""
    samples = read_wav(path, RATE).astype(numpy.float64)
    length = RATE // 4
    power = numpy.convolve(samples ** 2, numpy.ones(length), "valid")
    begin = int(numpy.argmax(power))
    return samples[begin:begin + length].astype("<i2")


@pytest.fixture(scope="module")
def judging(tmp_path_factory):
    stair = tmp_path_factory.mktemp("answer") / "stair.wav"
    write_stair(stair)
    simulator, address = start_simulator("--answer-wav", stair)
    with running_gateway(RULE + gateway_config(address, turn_detection="gateway")) as running:
        yield running
    simulator.stop()


def over_the_answer(peer, since):
    kinds = {"input_audio_buffer.speech_started", "output_audio_buffer.cleared", "output_audio_buffer.stopped",
             "conversation.item.truncated"}
    return [event["type"] for event in peer.events[since:] if event["type"] in kinds]


async def one_turn(peer, noise, interruption):
    """A noise over the answer, which goes on; then speech, which cuts it."""
    await peer.event("output_audio_buffer.started")
    await peer.answer_is_audible(40)
    since, resumed = len(peer.events), peer.resumed
    peer.microphone.say(noise)
    await peer.answer_goes_on(resumed)
    assert over_the_answer(peer, since) == [], "a noise is told to nobody"
    since = len(peer.events)
    peer.say(interruption)
    await peer.event("conversation.item.truncated")
    assert over_the_answer(peer, since) == [
        "input_audio_buffer.speech_started", "output_audio_buffer.cleared", "conversation.item.truncated"]
    await peer.fallen_silent()


async def converse(peer, gateway, speak):
    await peer.connect(gateway, model="sim-voice")
    peer.say(speak("what time is it"))
    noise = short_sound(speak("no wait a moment"))
    for _ in range(TURNS):
        await one_turn(peer, noise, speak("stop please stop it now"))
    # The last interruption is a question like the others.
    await peer.event("output_audio_buffer.started")
    return peer


async def listening(act):
    peer = Listener()
    try:
        return await act(peer)
    finally:
        await peer.close()


def test_over_many_turns_noises_leave_the_answer_whole_and_speech_cuts_it(judging, speak):
    peer = asyncio.run(listening(lambda peer: converse(peer, judging, speak)))
    started = [event["response_id"] for event in peer.all("output_audio_buffer.started")]
    cleared = [event["response_id"] for event in peer.all("output_audio_buffer.cleared")]
    assert len(set(started)) == TURNS + 1 and cleared == started[:TURNS]
    assert len(peer.all("input_audio_buffer.speech_started")) == TURNS + 1, "a noise makes no turn"
    assert len(peer.all("input_audio_buffer.committed")) == TURNS + 1
    assert not peer.all("error")
    answers = stairs(peer.heard)[:TURNS]
    assert len(answers) == TURNS
    for answer, cut in zip(answers, peer.all("conversation.item.truncated"), strict=True):
        top = max(step for step, frames in enumerate(answer) if frames >= STEP_FRAMES // 2)
        # The first and the last step may be heard in part; a coder blurs the borders of those between.
        whole = answer[1:top]
        assert len(whole) >= 6 and all(abs(frames - STEP_FRAMES) <= 3 for frames in whole), answer
        heard_ms = sum(answer) * 1_000 * FRAME / RATE
        assert cut["audio_end_ms"] <= heard_ms + 100, (cut, answer)


def test_a_backchannel_leaves_the_answer_whole(speak, tmp_path):
    rule = "conversation: { interruption: { minimum_speech: 1500ms, resume_after: 3s, backchannels: [okay] } }\n"

    async def scenario(peer):
        await peer.connect(running, model="local")
        peer.say(speak("tell me a long story"))
        await peer.event("output_audio_buffer.started")
        await peer.answer_is_audible(40)
        since, resumed = len(peer.events), peer.resumed
        peer.say(speak("okay"))
        await peer.answer_goes_on(resumed)
        assert over_the_answer(peer, since) == []

    with running_gateway(rule) as running:
        asyncio.run(listening(scenario))
