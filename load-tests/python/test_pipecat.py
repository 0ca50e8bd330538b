"""Pipecat with its OpenAI realtime service, unchanged, against the gateway: only the base URL is ours."""

import asyncio
import time

import numpy
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    BotStartedSpeakingFrame, BotStoppedSpeakingFrame, EndFrame, ErrorFrame, InputAudioRawFrame, InterruptionFrame,
    LLMRunFrame, TTSAudioRawFrame, TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.realtime.events import (
    AudioConfiguration, AudioInput, InputAudioTranscription, SemanticTurnDetection, SessionProperties,
)
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService
from pipecat.workers.runner import WorkerRunner

from conftest import read_wav

RATE = 24_000
FRAME = RATE // 50
LIMIT = 120
WEATHER = FunctionSchema(name="get_weather", description="Tells the weather of a city",
                         properties={"city": {"type": "string"}}, required=[])


class Ear(FrameProcessor):
    """The end of the pipeline: plays at real pace to nobody, and remembers what passed."""

    def __init__(self):
        super().__init__()
        self.words = ""
        self.audio_bytes = 0
        self.interruptions = 0
        self.errors = []
        self.playing_until = None
        self.changed = asyncio.Event()

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSTextFrame):
            self.words += frame.text
        elif isinstance(frame, TTSAudioRawFrame):
            self.audio_bytes += len(frame.audio)
            await self._play(len(frame.audio) / (2 * RATE))
        elif isinstance(frame, InterruptionFrame):
            self.interruptions += 1
            await self._fall_silent()
        elif isinstance(frame, ErrorFrame):
            self.errors.append(frame.error)
        self.changed.set()
        await self.push_frame(frame, direction)

    async def _play(self, seconds):
        if self.playing_until is None:
            self.playing_until = time.monotonic()
            await self.push_frame(BotStartedSpeakingFrame(), FrameDirection.UPSTREAM)
            self.create_task(self._end())
        self.playing_until += seconds

    async def _end(self):
        while self.playing_until is not None and time.monotonic() < self.playing_until:
            await asyncio.sleep(0.05)
        await self._fall_silent()

    async def _fall_silent(self):
        if self.playing_until is not None:
            self.playing_until = None
            await self.push_frame(BotStoppedSpeakingFrame(), FrameDirection.UPSTREAM)

    async def until(self, is_so, what):
        try:
            async with asyncio.timeout(LIMIT):
                while not is_so():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise AssertionError(f"{what} never came: {self.words!r} {self.errors}") from None


class Scene:
    """A pipeline with a microphone that never rests in front and an ear behind."""

    def __init__(self, gateway):
        self.asked, self.errors = [], []
        self.llm = OpenAIRealtimeLLMService(
            api_key=gateway.key, base_url=f"ws://{gateway.http}/v1/realtime",
            settings=OpenAIRealtimeLLMService.Settings(
                model="gpt-realtime", system_instruction="Be brief.",
                session_properties=SessionProperties(audio=AudioConfiguration(input=AudioInput(
                    transcription=InputAudioTranscription(), turn_detection=SemanticTurnDetection())))))
        self.llm.register_function("get_weather", self._tell_the_weather)
        self.context = LLMContext([{"role": "user", "content": "hello"}], ToolsSchema(standard_tools=[WEATHER]))
        user, assistant = LLMContextAggregatorPair(self.context, realtime_service_mode=True)
        self.ear = Ear()
        self.waiting = numpy.zeros(0, dtype="<i2")
        self.worker = PipelineWorker(
            Pipeline([user, self.llm, self.ear, assistant]), cancel_on_idle_timeout=False,
            params=PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE))

        @self.worker.event_handler("on_pipeline_error")
        async def on_error(worker, frame):
            self.errors.append(frame.error)

    def was_heard(self, word):
        """Whether the recognised words of the caller went into the context."""
        return any(word in str(message["content"]).lower() for message in self.context.get_messages()
                   if message["role"] == "user")

    async def _tell_the_weather(self, params):
        self.asked.append(params.arguments)
        await params.result_callback({"weather": "sunny and warm"})

    def say(self, path):
        self.waiting = numpy.concatenate([self.waiting, read_wav(path, RATE)])

    async def speak(self):
        began = time.monotonic()
        for frame in range(1_000_000):
            await asyncio.sleep(began + frame * 0.02 - time.monotonic())
            chunk, self.waiting = self.waiting[:FRAME], self.waiting[FRAME:]
            samples = numpy.zeros(FRAME, dtype="<i2")
            samples[:len(chunk)] = chunk
            await self.worker.queue_frame(InputAudioRawFrame(samples.tobytes(), RATE, 1))

    async def run(self, play):
        started = asyncio.Event()

        @self.worker.event_handler("on_pipeline_started")
        async def on_started(worker, frame):
            started.set()

        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(self.worker)
        running = asyncio.create_task(runner.run())
        await asyncio.wait_for(started.wait(), LIMIT)
        speaking = asyncio.create_task(self.speak())
        try:
            await play(self)
        finally:
            speaking.cancel()
            await self.worker.queue_frame(EndFrame())
            await asyncio.wait_for(running, LIMIT)


def test_a_pipeline_of_pipecat_hears_answers_calls_a_tool_and_is_interrupted(gateway, speak):
    async def play(scene):
        ear = scene.ear
        await scene.worker.queue_frame(LLMRunFrame())
        await ear.until(lambda: ear.audio_bytes > RATE, "the greeting")
        await ear.until(lambda: ear.playing_until is None, "the end of the greeting")

        scene.say(speak("what time is it"))
        await ear.until(lambda: "time" in ear.words.lower(), "the answer")
        await ear.until(lambda: scene.was_heard("time"), "the transcript")
        await ear.until(lambda: ear.playing_until is None, "its end")

        scene.say(speak("what is the weather in paris"))
        await ear.until(lambda: "sunny and warm" in ear.words.lower(), "the output of the tool")
        await ear.until(lambda: ear.playing_until is None, "its end")

        # The story is longer than half a minute; it is heard until its caller speaks.
        before = ear.audio_bytes
        scene.say(speak("tell me a long story"))
        await ear.until(lambda: ear.audio_bytes > before + 4 * RATE, "the story")
        cuts = ear.interruptions
        scene.say(speak("stop please stop it now"))
        await ear.until(lambda: ear.interruptions > cuts, "the interruption")
        assert ear.playing_until is None

        scene.say(speak("what is seven plus five"))
        await ear.until(lambda: "12" in ear.words or "twelve" in ear.words.lower(), "the sum")

    async def run():
        scene = Scene(gateway)
        await scene.run(play)
        return scene

    scene = asyncio.run(run())
    assert scene.errors == [] and scene.ear.errors == []
    assert len(scene.asked) == 1
    gateway.assert_nothing_is_left()
