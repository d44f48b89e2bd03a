"""A run: what is there to read, what of it is new, reading it, and the index."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from vl2.documents.desk import DOCUMENTS, Job
from vl2.documents.files import read_json
from vl2.documents.readers import UnopenedReaderError
from vl2.documents.results import RESULT, Outcome, outcome_of
from vl2.documents.settings import Settings, digest_of, folder_name
from vl2.errors import VL2Error

FAILURES_IN_A_ROW = 10
"""So many documents one after the other on which the reader fails end a run: it is gone."""

_HEARING_SECONDS = 0.5

Read: TypeAlias = Callable[[Job], Outcome]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run has to do.

    Attributes:
        jobs: documents to be read, each content once.
        done: what has been read before.
        twins: files by the digest of their content, where several hold the same.
    """

    jobs: list[Job]
    done: list[Outcome]
    twins: dict[str, list[Path]]


def plan(
    paths: Iterable[Path],
    settings: Settings,
    out: Path,
    *,
    again: bool = False,
    on_file: Callable[[], None] | None = None,
) -> Plan:
    """Hash the files and set them against what the folder holds.

    Args:
        paths: the files.
        settings: what is asked.
        out: folder of the results.
        again: whether documents that ended in an error are to be read again.
        on_file: called before each file is looked at.
    """
    folders = _folders(out)
    jobs: list[Job] = []
    done: list[Outcome] = []
    twins: dict[str, list[Path]] = {}
    for path in paths:
        if on_file is not None:
            on_file()
        try:
            digest = digest_of(path)
        except OSError as error:
            sentence = f"{path.name} cannot be read ({error.strerror or error})."
            done.append(Outcome(str(path), "", "error", sentence))
            continue
        twins.setdefault(digest, []).append(path)
        if len(twins[digest]) > 1:
            continue
        key = settings.key(digest)
        folder = folders.get(key) or folder_name(path, key)
        known = known_of(out, path, folder)
        if known is None or (again and known.status != "ok"):
            jobs.append(Job(path, folder, digest))
        else:
            done.append(known)
    return Plan(jobs, done, twins)


def run(
    planned: Plan,
    read: Read,
    parallel: int,
    on_document: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Read what is to be read, many documents at once.

    Args:
        planned: what to do.
        read: reads one document; of `Desk`, called from several threads.
        parallel: documents at once.
        on_document: told of each document when it is done.

    Returns:
        What became of all files, also of those read before and of those with the same content.

    Raises:
        VL2Error: the reader has failed `FAILURES_IN_A_ROW` times without a success between.
        UnopenedReaderError: there is no reader.
    """
    return gathered(planned, read_all(planned.jobs, read, parallel), on_document)


def gathered(
    planned: Plan,
    finished: Iterable[Outcome],
    on_document: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """What became of all files of a plan, from its documents as they are finished.

    Args:
        planned: what is done.
        finished: one outcome for each of its jobs, in any order.
        on_document: told of each.
    """
    outcomes = list(planned.done)
    for outcome in finished:
        outcomes.append(outcome)
        if on_document is not None:
            on_document(outcome)
    twins = {str(paths[0]): paths[1:] for paths in planned.twins.values() if len(paths) > 1}
    same = [
        replace(outcome, path=str(path))
        for outcome in outcomes
        for path in twins.get(outcome.path, ())
    ]
    return outcomes + same


def read_all(jobs: Iterable[Job], read: Read, parallel: int) -> Iterator[Outcome]:
    """Read documents, many at once; arguments and errors as of `run`."""
    failures = _Failures()
    pool = ThreadPoolExecutor(parallel)
    working: set[Future[Outcome]] = set()
    try:
        for job in jobs:
            working.add(pool.submit(_attempt, job, read, failures))
            if len(working) >= 2 * parallel:
                finished, working = _next(working)
                yield from (future.result() for future in finished)
        while working:
            finished, working = _next(working)
            yield from (future.result() for future in finished)
    finally:
        # Documents that are being read are not waited for: closing the desk ends them.
        pool.shutdown(wait=False, cancel_futures=True)


def _next(working: set[Future[Outcome]]) -> tuple[set[Future[Outcome]], set[Future[Outcome]]]:
    """Wait for one of them, but never so long that a Ctrl-C goes unheard."""
    finished: set[Future[Outcome]] = set()
    while not finished:
        finished, working = wait(working, _HEARING_SECONDS, FIRST_COMPLETED)
    return finished, working


class _Failures:
    """Counts documents in a row on which the reader failed."""

    def __init__(self) -> None:
        self._lock, self._count = threading.Lock(), 0

    def forget(self) -> None:
        with self._lock:
            self._count = 0

    def are_too_many(self) -> bool:
        with self._lock:
            self._count += 1
            return self._count >= FAILURES_IN_A_ROW


def _attempt(job: Job, read: Read, failures: _Failures) -> Outcome:
    try:
        outcome = read(job)
    except VL2Error as error:
        if isinstance(error, UnopenedReaderError) or failures.are_too_many():
            raise
        return Outcome(str(job.path), "", "failed", str(error), digest=job.digest)
    failures.forget()
    return outcome


def _folders(out: Path) -> dict[str, str]:
    """Names of documents' folders by their keys, whatever the files were called."""
    place = out / DOCUMENTS
    if not place.is_dir():
        return {}
    return {path.name.rpartition("-")[2]: path.name for path in place.iterdir()}


def known_of(out: Path, path: Path, folder: str) -> Outcome | None:
    """What another run or worker found out about a document, if it finished it."""
    result = read_json(out / DOCUMENTS / folder / RESULT, lambda value: isinstance(value, dict))
    if result is None:
        return None
    try:
        return outcome_of(result, str(path), folder)
    except (KeyError, TypeError):
        return None
