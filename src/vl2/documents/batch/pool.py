"""Several processes of this machine that read documents, each with a model of its own."""

from __future__ import annotations

import os
import threading

from vl2.documents.batch.errand import Errand
from vl2.documents.batch.seats import Seats
from vl2.documents.batch.worker import LostWorkerError, Worker
from vl2.documents.desk import Job, Told
from vl2.documents.results import Outcome
from vl2.errors import EngineError

ATTEMPTS = 3
"""Workers that a document may be lost with before it is given up."""


class Pool:
    """Worker processes; one that dies is replaced, and what it held is read again.

    The pages that the dead one finished are not read again, for the desk keeps them. `read` may be
    called from as many threads as there are workers times `Errand.parallel`; more would wait.

    Args:
        errand: what is read, where to and how.
        workers: how many processes.
        on_pages: called when a document is opened and after each page, from any thread.

    Raises:
        VL2Error: the model cannot be loaded.
        EngineError: a worker died while it loaded the model.
    """

    def __init__(self, errand: Errand, workers: int, on_pages: Told) -> None:
        self._errand, self._on_pages = errand.as_text(), on_pages
        self._threads = max(1, _processors() // workers)
        self._seats = Seats(workers, errand.parallel)
        self._lock, self._closed = threading.Lock(), False
        self._workers = [self._started(seat) for seat in range(workers)]
        try:
            for worker in self._workers:
                _wait_for(worker, workers)
        except BaseException:
            self.close()
            raise

    @property
    def pids(self) -> list[int]:
        """The processes that are at work."""
        return [worker.pid for worker in self._workers]

    def read(self, job: Job) -> Outcome:
        """Read a document, by any worker; as `Desk.read`.

        Raises:
            EngineError: the reader failed, or so did `ATTEMPTS` workers.
            OSError: the result cannot be written.
        """
        for attempt in range(ATTEMPTS):
            with self._seats.taken(alone=attempt > 0) as seat:
                try:
                    return self._worker(seat).read(job)
                except LostWorkerError:
                    continue
        raise EngineError(
            f"{ATTEMPTS} workers died while they read it, two of them with nothing else to read: "
            "it may need more memory than there is."
        )

    def close(self) -> None:
        """End the processes; what is being read fails."""
        with self._lock:
            self._closed = True
        self._seats.close()
        enders = [threading.Thread(target=worker.end) for worker in self._workers]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join()

    def _worker(self, seat: int) -> Worker:
        """The worker of a seat; a new one if it died."""
        with self._lock:
            worker = self._workers[seat]
            if worker.lost:
                if self._closed:
                    raise EngineError("The work was ended before this document was read.")
                worker = self._workers[seat] = self._started(seat)
        _wait_for(worker, len(self._workers))
        return worker

    def _started(self, seat: int) -> Worker:
        return Worker(seat, self._errand, self._threads, self._on_pages)


def _wait_for(worker: Worker, workers: int) -> None:
    try:
        worker.wait()
    except LostWorkerError as error:
        raise EngineError(
            f"A worker died while it loaded the model: is there memory for {workers} of them? "
            "Ask for fewer with --workers."
        ) from error


def _processors() -> int:
    """That this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
