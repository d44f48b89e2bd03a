"""A worker of a Ray cluster: made once by Ray Data, then called with documents, block by block."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from vl2.documents.batch.errand import LOCAL, Errand, job_from_dict, opened
from vl2.documents.desk import Job
from vl2.documents.results import Outcome
from vl2.documents.run import known_of, read_all
from vl2.documents.settings import FORMAT, fingerprint_of
from vl2.engine.sources import find_checkpoint
from vl2.errors import CheckpointError, EngineError, InputError, VL2Error

JOB, SAID = "job", "said"
"""Columns of the rows that come in and go out; each holds JSON."""


class Station:
    """Reads blocks of documents at a desk of its own.

    What is wrong with this machine (another version of this package, a folder that it does not
    see, a model that cannot be loaded) is answered as `trouble`, for it concerns every document.

    Args:
        errand: what it must know (`Errand.as_text`).
        form: of result files, where the run was started (`FORMAT`).
        mark: name of a file in the folder of results, which tells that it is the same folder.
        tally: counts pages, found and read; an actor of Ray with a method `add`.
    """

    def __init__(self, errand: str, form: int, mark: str, tally: Any) -> None:  # noqa: ANN401
        self._trouble: str | None = None
        self._errand = Errand.from_text(errand)
        self._open = contextlib.ExitStack()
        try:
            check(self._errand, form, mark)
            desk = opened(self._errand, tally.add.remote)
            self._desk = self._open.enter_context(desk)
        except VL2Error as error:
            self._trouble = _here(error)

    def __call__(self, block: dict[str, Sequence[str]]) -> dict[str, list[str]]:
        """Read a block of documents; rows of outcomes, or of trouble."""
        jobs = [job_from_dict(json.loads(text)) for text in block[JOB]]
        return {SAID: [json.dumps(answer) for answer in self._answers(jobs)]}

    def close(self) -> None:
        """End what it has started; of Ray's workers the end of their process does that."""
        self._open.close()

    def _answers(self, jobs: list[Job]) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        if self._trouble is None:
            try:
                finished = read_all(jobs, self._read, self._errand.parallel)
                answers.extend({"outcome": asdict(outcome)} for outcome in finished)
            except (VL2Error, OSError) as error:
                self._trouble = _here(error)
        if self._trouble is not None:
            answers.append({"trouble": self._trouble})
        return answers

    def _read(self, job: Job) -> Outcome:
        known = known_of(self._errand.out, job.path, job.folder)
        if known is not None:  # finished by a worker that was lost before it could say so
            return known
        if not job.path.exists():
            raise EngineError(_here(InputError(f"{str(job.path)!r} is not on this machine.")))
        return self._desk.read(job)


def check(errand: Errand, form: int, mark: str) -> None:
    """Refuse a machine on which results would not be those of the others.

    Raises:
        InputError: another version of this package, or another folder of results.
        CheckpointError: there is no such model, or it has other weights.
    """
    if form != FORMAT:
        raise InputError(
            f"This vl2 writes results in form {FORMAT}, and the run was started for form {form}: "
            "install the same version everywhere."
        )
    if not (errand.out / mark).exists():
        raise InputError(
            f"{str(errand.out)!r} is not the folder that the run writes to: all machines must see "
            "the same folders under the same names."
        )
    settings = errand.settings
    if settings.engine == LOCAL:
        found = fingerprint_of(find_checkpoint(settings.model))
        if found != settings.fingerprint:
            raise CheckpointError(
                f"The weights of {settings.model!r} are others than where the run was started: "
                "copy the same checkpoint to all machines."
            )


def _here(error: Exception) -> str:
    return f"On {socket.gethostname()}: {error}"
