"""The engine as others see it: events to iterate over or to await."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import weakref
from collections.abc import AsyncIterator, Iterator

from vl2.engine.core import Core
from vl2.engine.limits import Limits
from vl2.engine.requests import Event, Finish, Request
from vl2.engine.sequence import Sequence
from vl2.engine.stats import Stats
from vl2.engine.worker import Worker
from vl2.errors import VL2Error
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.processing.processor import DeepseekVLV2Processor


class BatchingEngine:
    """Answers many requests at once; `vl2.engine` says how to use it.

    Args:
        model: the model, on its device; its weights are used where they are.
        processor: what makes the prompts; gives the tokenizer.
        limits: how much goes on at once.
    """

    def __init__(
        self,
        model: DeepseekVLV2ForCausalLM,
        processor: DeepseekVLV2Processor,
        limits: Limits | None = None,
    ) -> None:
        self._core = Core(model, processor, limits or Limits())
        self._worker = Worker(self._core)
        # The thread must not keep the engine alive, nor outlive it or the interpreter.
        self._finalizer = weakref.finalize(self, self._worker.close)

    @property
    def context(self) -> int:
        """Tokens that a conversation and its answer may have together."""
        return self._core.context

    @property
    def device(self) -> str:
        """Where the model runs, e.g. `cpu` or `cuda:0`."""
        return str(self._core.model.device)

    @property
    def dtype(self) -> str:
        """The type of its weights, e.g. `bfloat16`."""
        return str(self._core.model.dtype).removeprefix("torch.")

    def generate(self, request: Request) -> SyncEvents:
        """Queue a request; returns its events.

        Raises:
            ContextError: there is no room for an answer.
            InputError: the settings do not fit the model.
            MissingExtraError: a constraint without llguidance.
            BusyError: the queue is full.
            EngineError: the engine is closed; while reading: this answer failed.
        """
        return SyncEvents(self, self._worker, request)

    def stream(
        self, request: Request, loop: asyncio.AbstractEventLoop | None = None
    ) -> AsyncEvents:
        """As `generate`, for a coroutine.

        Args:
            request: the request. To check it may take long where it has a constraint.
            loop: the event loop in which the events will be awaited; with it any thread may call
                this. Without it call this where that loop runs.
        """
        return AsyncEvents(self, self._worker, request, loop or asyncio.get_running_loop())

    def stats(self) -> Stats:
        """What there is to do and was done."""
        return self._core.stats()

    def close(self) -> None:
        """End the thread; answers that are not finished raise `EngineError`."""
        self._finalizer()


class _Ending:
    """The end of an answer, from either side."""

    # Holds the engine, which would end its thread if it were forgotten before its answers.
    def __init__(self, engine: BatchingEngine) -> None:
        self._engine: BatchingEngine | None = engine
        self._sequence: Sequence | None = None

    def _seen(self, event: Event | VL2Error) -> Event:
        if isinstance(event, VL2Error):
            self._let_go()
            raise event
        if isinstance(event, Finish):
            self._let_go()
        return event

    def _cancel(self) -> None:
        if self._sequence is not None:
            self._sequence.cancelled = True
        self._let_go()

    def _let_go(self) -> None:
        self._engine = self._sequence = None

    def __del__(self) -> None:
        self._cancel()


class SyncEvents(_Ending):
    """The events of one answer. Closing or forgetting them ends the work on it."""

    def __init__(self, engine: BatchingEngine, worker: Worker, request: Request) -> None:
        super().__init__(engine)
        self._queue: queue.SimpleQueue[Event | VL2Error] = queue.SimpleQueue()
        self._sequence = worker.submit(request, self._queue.put)

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        if self._sequence is None:
            raise StopIteration
        return self._seen(self._queue.get())

    def close(self) -> None:
        """End the work on the answer."""
        self._cancel()


class AsyncEvents(_Ending):
    """The events of one answer, awaited. Closing or forgetting them ends the work on it."""

    def __init__(
        self,
        engine: BatchingEngine,
        worker: Worker,
        request: Request,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(engine)
        self._queue: asyncio.Queue[Event | VL2Error] = asyncio.Queue()
        put = self._queue.put_nowait

        def sink(event: Event | VL2Error) -> None:
            # Where the loop has been closed nobody waits any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(put, event)

        self._sequence = worker.submit(request, sink)

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if self._sequence is None:
            raise StopAsyncIteration
        try:
            event = await self._queue.get()
        except asyncio.CancelledError:
            self._cancel()
            raise
        return self._seen(event)

    async def aclose(self) -> None:
        """End the work on the answer."""
        self._cancel()
