"""LiveKit Agents with its OpenAI realtime model, unchanged, against the gateway: only the base URL is ours."""

import asyncio
import time

import numpy
from livekit import rtc
from livekit.agents import Agent, AgentSession, function_tool
from livekit.agents.voice import io
from livekit.plugins import openai

from conftest import read_wav

RATE = 24_000
FRAME = RATE // 50
LIMIT = 120


class Microphone(io.AudioInput):
    """Frames of 20 ms at real pace: what was given to it, otherwise silence."""

    def __init__(self):
        super().__init__(label="microphone")
        self.waiting = numpy.zeros(0, dtype="<i2")
        self.began = time.monotonic()
        self.sent = 0

    def say(self, path):
        self.waiting = numpy.concatenate([self.waiting, read_wav(path, RATE)])

    async def __anext__(self):
        await asyncio.sleep(self.began + self.sent * 0.02 - time.monotonic())
        self.sent += 1
        chunk, self.waiting = self.waiting[:FRAME], self.waiting[FRAME:]
        samples = numpy.zeros(FRAME, dtype="<i2")
        samples[:len(chunk)] = chunk
        return rtc.AudioFrame(samples.tobytes(), RATE, 1, FRAME)


class Loudspeaker(io.AudioOutput):
    """Plays at real pace to nobody. `heard` are the seconds of every segment, and whether it was cut."""

    def __init__(self):
        super().__init__(label="loudspeaker", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=RATE)
        self.heard = []
        self.began = None
        self.received = 0.0
        self.end = None

    async def capture_frame(self, frame):
        await super().capture_frame(frame)
        if self.began is None:
            self.began = time.monotonic()
            self.on_playback_started(created_at=time.time())
        self.received += frame.duration

    def flush(self):
        super().flush()
        if self.began is not None and self.end is None:
            left = max(0.0, self.received - (time.monotonic() - self.began))
            self.end = asyncio.get_running_loop().call_later(left, self._finish, False)

    def clear_buffer(self):
        if self.began is not None:
            self._finish(True)

    def _finish(self, interrupted):
        if self.end:
            self.end.cancel()
        played = min(self.received, time.monotonic() - self.began)
        self.began, self.received, self.end = None, 0.0, None
        self.heard.append((played, interrupted))
        self.on_playback_finished(playback_position=played, interrupted=interrupted)


class Scene:
    """A session with everything it told."""

    def __init__(self, gateway, asked):
        self.model = openai.realtime.RealtimeModel(model="gpt-realtime", api_key=gateway.key, base_url=gateway.base)
        self.session = AgentSession(llm=self.model, vad=None, aec_warmup_duration=None)
        self.microphone, self.loudspeaker = Microphone(), Loudspeaker()
        self.session.input.audio, self.session.output.audio = self.microphone, self.loudspeaker
        self.transcripts, self.said, self.errors, self.tools = [], [], [], []
        self.changed = asyncio.Event()
        for event, act in {
            "user_input_transcribed": lambda event: event.is_final and self.transcripts.append(event.transcript),
            "conversation_item_added": lambda event: self.said.append(event.item),
            "function_tools_executed": lambda event: self.tools.extend(call.name for call in event.function_calls),
            "error": lambda event: self.errors.append(event.error),
        }.items():
            self.session.on(event, self._noting(act))

        @function_tool
        async def get_weather(city: str = "") -> str:
            """Tells the weather of a city."""
            asked.append(city)
            return "It is sunny and warm there today"

        self.agent = Agent(instructions="Be brief.", tools=[get_weather])

    def _noting(self, act):
        def note(event):
            act(event)
            self.changed.set()

        return note

    async def until(self, is_so, what):
        try:
            async with asyncio.timeout(LIMIT):
                while not is_so():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise AssertionError(f"{what} never came: {self.transcripts} {self.said} {self.errors}") from None

    def answers(self):
        return [item for item in self.said if getattr(item, "role", None) == "assistant"]

    async def answer_with(self, word):
        await self.until(lambda: any(word in item.text_content.lower() for item in self.answers()), word)


def test_an_agent_of_livekit_hears_answers_calls_a_tool_and_is_interrupted(gateway, speak, caplog):
    asked = []

    async def run():
        scene = Scene(gateway, asked)
        await scene.session.start(scene.agent, record=False)
        try:
            await play(scene)
        finally:
            await scene.session.aclose()
            await scene.model.aclose()
        return scene

    async def play(scene):
        scene.microphone.say(speak("what time is it"))
        await scene.until(lambda: any("time" in text.lower() for text in scene.transcripts), "the transcript")
        await scene.answer_with("time")

        scene.microphone.say(speak("what is the weather in paris"))
        await scene.until(lambda: scene.tools, "the tool call")
        await scene.answer_with("sunny and warm")

        # The story is longer than half a minute; it is heard until its caller speaks.
        finished = len(scene.loudspeaker.heard)
        scene.session.generate_reply(user_input="tell me a long story")
        await asyncio.wait_for(started(scene.loudspeaker, 1.5), LIMIT)
        scene.microphone.say(speak("stop please stop it now"))
        await scene.until(lambda: any(item.interrupted for item in scene.answers()), "the interruption")
        played, interrupted = scene.loudspeaker.heard[finished]
        assert interrupted and 1.0 < played < 20, scene.loudspeaker.heard

        scene.session.generate_reply(user_input="what is seven plus five")
        await scene.until(lambda: any("12" in item.text_content or "twelve" in item.text_content.lower()
                                      for item in scene.answers()), "the sum")

    scene = asyncio.run(run())
    assert scene.errors == []
    assert scene.tools == ["get_weather"] and len(asked) == 1
    story = next(item for item in scene.answers() if item.interrupted)
    assert "if it has not been lost" not in story.text_content.lower(), "nobody heard the end"
    complaints = [record.getMessage() for record in caplog.records
                  if record.levelname in ("WARNING", "ERROR") and "OpenAI Realtime" in record.getMessage()]
    assert complaints == []
    gateway.assert_nothing_is_left()


async def started(loudspeaker, seconds):
    """Waits until a segment plays for so long."""
    while loudspeaker.began is None or time.monotonic() - loudspeaker.began < seconds:
        await asyncio.sleep(0.05)
