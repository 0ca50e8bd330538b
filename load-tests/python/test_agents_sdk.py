"""The official `openai-agents` package over WebSocket. Its event models are strict: an event they cannot parse
comes out as an error event, so silence on that side is the judgement."""

import asyncio

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner

LIMIT = 120


def test_an_agent_with_a_tool_holds_a_conversation(gateway):
    asked = []

    @function_tool
    def get_weather(city: str = "") -> str:
        """Tells the weather of a city."""
        asked.append(city)
        return "sunny"

    async def run():
        agent = RealtimeAgent(name="Host", instructions="Be brief.", tools=[get_weather])
        runner = RealtimeRunner(starting_agent=agent)
        options = {
            "api_key": gateway.key,
            "url": f"ws://{gateway.http}/v1/realtime?model=gpt-realtime",
            "initial_model_settings": {"model_name": "gpt-realtime"},
        }
        audio = 0
        errors = []
        async with await runner.run(model_config=options) as session:
            await session.send_message("what is the weather in paris")

            async def watch():
                nonlocal audio
                async for event in session:
                    if event.type == "error":
                        errors.append(event.error)
                    if event.type == "audio":
                        audio += len(event.audio.data)
                    if event.type == "audio_end" and asked:
                        return

            await asyncio.wait_for(watch(), LIMIT)
        return audio, errors

    audio, errors = asyncio.run(run())
    assert errors == []
    assert asked, "the tool was never called"
    assert audio > 24_000
