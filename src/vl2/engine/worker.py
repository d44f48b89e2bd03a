"""The thread of an engine, and what it shares with others."""

from __future__ import annotations

import threading

from vl2.engine.core import Core
from vl2.engine.requests import Request
from vl2.engine.sequence import Sequence, Sink
from vl2.errors import BusyError, EngineError


class Worker:
    """Runs the steps of a core in a thread of its own, which sleeps while there is nothing to do.

    Should a step raise what nobody foresaw, everything that is being worked on ends in an error,
    the exception goes to `threading.excepthook`, and the next request begins with a new thread and
    an empty cache.

    Args:
        core: what does the work. Once a request was submitted only the thread changes it.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self._wake = threading.Condition()
        self._inbox: list[Sequence] = []
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, request: Request, sink: Sink) -> Sequence:
        """Queue a request; errors as for `BatchingEngine.generate`."""
        sequence = self.core.prepare(request, sink)
        with self._wake:
            if self._closed:
                raise EngineError("The engine is closed: load the model again.")
            limits, scheduler = self.core.limits, self.core.scheduler
            unfinished = len(self._inbox) + len(scheduler.running) + scheduler.waiting
            if unfinished >= limits.running + limits.waiting:
                raise BusyError(
                    f"The engine has {unfinished} requests to work on and takes no more: ask again "
                    "later."
                )
            self._inbox.append(sequence)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="vl2-engine", daemon=True)
                self._thread.start()
            self._wake.notify()
        return sequence

    def close(self) -> None:
        """End the thread after its step; what is not finished ends in an error."""
        with self._wake:
            self._closed = True
            thread = self._thread
            self._wake.notify()
        # The garbage collector may close an engine from within its own thread.
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        finished = False
        try:
            while self._take_in():
                self.core.step()
            finished = True
        finally:
            self._end(finished)

    def _take_in(self) -> bool:
        """Wait for work and take on what is new; false when the engine is closed."""
        with self._wake:
            while not (self._closed or self._inbox or self.core.busy):
                self._wake.wait()
            for sequence in self._inbox:
                self.core.add(sequence)
            self._inbox.clear()
            return not self._closed

    def _end(self, finished: bool) -> None:
        reason = "was closed" if finished else "stopped unexpectedly"
        with self._wake:
            for sequence in self._inbox:
                self.core.add(sequence)
            self._inbox.clear()
            self.core.fail_all(EngineError(f"The engine {reason} before this answer was done."))
            # First, for memory may be short: without it nobody would work on the next request.
            self._thread = None
            if not self._closed:
                self.core.reset()
