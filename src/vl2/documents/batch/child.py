"""A worker of this machine: `python -m vl2.documents.batch.child SEAT`.

It reads an errand, a line of JSON, and says that it is ready; then documents, a line each, and
answers in whatever order they are finished. It ends when nobody can send any more, also when
whoever started it was killed.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any, TypeAlias

from vl2.documents.batch.errand import LOCAL, Errand, device_of, job_from_dict, opened
from vl2.documents.desk import Desk
from vl2.errors import VL2Error

Say: TypeAlias = Callable[[dict[str, Any]], None]


def main() -> None:
    """Read what comes, until nothing can come any more."""
    say = _voice()
    errand = Errand.from_text(sys.stdin.readline())
    if errand.settings.engine == LOCAL:
        device = device_of(errand.device, int(sys.argv[1]), _gpus())
        errand = replace(errand, device=device)
    try:
        with opened(errand, lambda *pages: say({"pages": pages})) as desk:
            say({"ready": True})
            _serve(desk, errand.parallel, say)
    except VL2Error as error:
        say({"refused": str(error)})
    # Threads that wait for a server would hold the process for as long as the server likes.
    os._exit(0)


def _gpus() -> int:
    # A worker that asks a server is spared the seconds that torch takes to import.
    return importlib.import_module("torch").cuda.device_count()


def _voice() -> Say:
    """Answers go where standard output went; what libraries print must not come between them."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lock = threading.Lock()

    def say(answer: dict[str, Any]) -> None:
        # If nobody listens any more, the end of the input says so as well.
        with lock, contextlib.suppress(BrokenPipeError):
            answers.write(json.dumps(answer) + "\n")
            answers.flush()

    return say


def _serve(desk: Desk, parallel: int, say: Say) -> None:
    pool = ThreadPoolExecutor(parallel)
    for line in sys.stdin:
        pool.submit(_read, desk, json.loads(line), say).add_done_callback(_end_if_broken)
    pool.shutdown(wait=False, cancel_futures=True)


def _read(desk: Desk, request: dict[str, Any], say: Say) -> None:
    number = request["number"]
    try:
        outcome = desk.read(job_from_dict(request["job"]))
    except VL2Error as error:
        say({"number": number, "failed": str(error)})
    except OSError as error:
        say({"number": number, "errno": error.errno, "said": error.strerror or str(error)})
    else:
        say({"number": number, "outcome": asdict(outcome)})


def _end_if_broken(done: Future[None]) -> None:
    """A defect ends the worker with its traceback; whoever waits learns that it is lost."""
    if not done.cancelled() and (error := done.exception()) is not None:
        traceback.print_exception(error)
        os._exit(1)


if __name__ == "__main__":
    main()
