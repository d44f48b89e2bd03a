"""The other side of a worker process of this machine."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from typing import Any

from vl2.documents.batch.errand import job_as_dict, outcome_from_dict
from vl2.documents.desk import Job, Told
from vl2.documents.results import Outcome
from vl2.errors import EngineError, VL2Error

_CHILD = "vl2.documents.batch.child"
_LEAVE_SECONDS = 5.0


class LostWorkerError(VL2Error):
    """A worker died; what it held is not read."""


class Worker:
    """A process that reads documents, many at once.

    Args:
        seat: its number, which says which GPU it takes.
        errand: what it must know (`Errand.as_text`).
        threads: that it computes with, unless the environment says so already.
        on_pages: called when a document is opened and after each page, from another thread.
    """

    def __init__(self, seat: int, errand: str, threads: int, on_pages: Told) -> None:
        self._on_pages = on_pages
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Outcome]] = {}
        self._ready: Future[None] = Future()
        self._lock = threading.Lock()
        self._lost = False
        # A session of its own: Ctrl-C is for whoever started it, who then ends it in good order,
        # and its processes can be ended together.
        self._process = subprocess.Popen(
            [sys.executable, "-m", _CHILD, str(seat)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_variables(threads),
            start_new_session=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()
        self._send(errand)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def lost(self) -> bool:
        """Whether it died or was ended."""
        return self._lost

    def wait(self) -> None:
        """Wait until its model is loaded.

        Raises:
            VL2Error: the model cannot be loaded.
            LostWorkerError: it died over it.
        """
        self._ready.result()

    def read(self, job: Job) -> Outcome:
        """Read a document; as `Desk.read`.

        Raises:
            EngineError: the reader failed.
            OSError: the result cannot be written.
            LostWorkerError: the worker died.
        """
        number, answer = next(self._numbers), Future[Outcome]()
        with self._lock:
            if self._lost:
                raise LostWorkerError("The worker has died.")
            self._waiting[number] = answer
        self._send(json.dumps({"number": number, "job": job_as_dict(job)}))
        return answer.result()

    def end(self) -> None:
        """Let it end in good order; if that takes longer than some seconds, end it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(_LEAVE_SECONDS)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._kill()
        self._process.wait()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            with self._lock:
                self._process.stdin.write(line.encode() + b"\n")
                self._process.stdin.flush()
        except (BrokenPipeError, ValueError):  # it died, or its input was closed to end it
            return

    def _listen(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith(b"\n"):
                break
            self._hear(json.loads(line))
        with self._lock:
            self._lost = True
            waiting, self._waiting = list(self._waiting.values()), {}
        # Processes that it started end by themselves, but a page may take them a while.
        self._kill()
        code = self._process.wait()
        self._process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        lost = LostWorkerError(f"A worker died (exit status {code}).")
        for answer in waiting:
            answer.set_exception(lost)
        if not self._ready.done():
            self._ready.set_exception(lost)

    def _hear(self, said: dict[str, Any]) -> None:
        if "pages" in said:
            self._on_pages(*said["pages"])
        elif "ready" in said:
            self._ready.set_result(None)
        elif "refused" in said:
            self._ready.set_exception(VL2Error(said["refused"]))
        else:
            with self._lock:
                answer = self._waiting.pop(said["number"])
            _settle(answer, said)

    def _kill(self) -> None:
        if sys.platform == "win32":
            self._process.kill()
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # they have ended
            return


def _settle(answer: Future[Outcome], said: dict[str, Any]) -> None:
    if "outcome" in said:
        answer.set_result(outcome_from_dict(said["outcome"]))
    elif "failed" in said:
        answer.set_exception(EngineError(said["failed"]))
    else:
        answer.set_exception(OSError(said["errno"], said["said"]))


def _variables(threads: int) -> dict[str, str]:
    return {
        "OMP_NUM_THREADS": str(threads),
        **os.environ,
        "PYTHONWARNINGS": "ignore",
        "TRANSFORMERS_VERBOSITY": "error",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
