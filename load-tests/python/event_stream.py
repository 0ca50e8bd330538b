"""What a client is told, in order, and waiting for it."""

import asyncio
import json

LIMIT = 120


class EventStream:
    """Server events as they came, `wire` as text. `read` counts those up to the one waited for last."""

    def __init__(self):
        self.wire = []
        self.events = []
        self.read = 0
        self._changed = asyncio.Condition()
        self._tasks = set()

    def _spawn(self, work):
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _notify(self):
        async with self._changed:
            self._changed.notify_all()

    def take(self, text):
        self.wire.append(text)
        self.events.append(json.loads(text))
        self._spawn(self._notify())

    async def until(self, is_so, what, limit=LIMIT):
        """Waits for something to become so; a failure shows what the gateway said."""
        try:
            async with asyncio.timeout(limit), self._changed:
                await self._changed.wait_for(is_so)
        except TimeoutError:
            told = [event["type"] for event in self.events]
            raise AssertionError(f"{what} never came; the events were {told}") from None

    def all(self, kind):
        return [event for event in self.events if event["type"] == kind]

    async def event(self, kind, where=lambda event: True):
        """The next event of this kind, counted from the one waited for before."""
        def position():
            found = (at for at in range(self.read, len(self.events))
                     if self.events[at]["type"] == kind and where(self.events[at]))
            return next(found, None)

        await self.until(lambda: position() is not None, kind)
        found = position()
        self.read = found + 1
        return self.events[found]

    async def told(self, kind, where=lambda event: True):
        """The first event of this kind, whether or not it has been waited past."""
        def found():
            return next((event for event in self.all(kind) if where(event)), None)

        await self.until(lambda: found() is not None, kind)
        return found()

    def stop_tasks(self):
        for task in list(self._tasks):
            task.cancel()
