"""An engine that works step by step, given a face for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor

from vl2.engine import Engine, Event, Request


class Stepper:
    """Lets many requests share an engine that answers one step at a time.

    Args:
        engine: is only ever used on one thread.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")

    async def stream(self, request: Request) -> AsyncGenerator[Event, None]:
        """The events of an answer; closing ends the work on it before its next step."""
        loop = asyncio.get_running_loop()
        events = await loop.run_in_executor(self._thread, self._engine.generate, request)
        try:
            while (
                event := await loop.run_in_executor(self._thread, next, events, None)
            ) is not None:
                yield event
        finally:
            self._thread.submit(events.close)
