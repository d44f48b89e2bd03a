"""Work dealt out in rounds until nothing is left, for workers that may be lost on the way."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from vl2.documents.desk import Job
from vl2.documents.results import Outcome
from vl2.errors import InputError

LEG = 100_000
"""Documents that are handed over at once; more would have to be held and dealt by one machine."""

_SHRINK = 8

Round: TypeAlias = Callable[[Sequence[Job], int], Iterable[Outcome]]
"""Reads jobs, so many together; what its workers lose is missing among the outcomes."""


def in_rounds(jobs: Iterable[Job], read_round: Round, together: int) -> Iterator[Outcome]:
    """Read documents, and again what was lost with a worker.

    Each round deals fewer documents together, so that one which ends every worker that reads it
    takes fewer others with it. What no worker finishes alone is given up as `failed`, which a
    later run tries again.

    Args:
        jobs: what is read.
        read_round: reads them.
        together: documents of the first round that are lost together.
    """
    left = {job.digest: job for job in jobs}
    while left:
        before = len(left)
        waiting = iter(list(left.values()))
        while leg := list(itertools.islice(waiting, LEG)):
            for outcome in read_round(leg, together):
                job = left.pop(outcome.digest, None)
                if job is not None:
                    yield replace(outcome, path=str(job.path))
        if together == 1 and len(left) == before:
            break
        together = max(1, together // _SHRINK)
    for job in left.values():
        yield Outcome(str(job.path), "", "failed", _LOST, digest=job.digest)


_LOST = "Every worker that read it was lost: it may need more memory than a worker has."


@dataclass(frozen=True, slots=True)
class Share:
    """What a cluster gives to a run.

    Attributes:
        workers: how many.
        cpus: of each.
        gpus: of each, 0 or 1.
    """

    workers: int
    cpus: int
    gpus: int


def share_of(machines: Sequence[dict[str, Any]], wanted: int | None, device: str) -> Share:
    """Deal the processors of a cluster: a worker for each GPU, or without GPUs for each machine.

    Args:
        machines: what each machine has, by Ray's names (`CPU`, `GPU`).
        wanted: workers that were asked for; they share the processors of their machines evenly.
        device: where a model runs.

    Raises:
        InputError: so many workers do not fit, or a GPU of some number was asked for.
    """
    if ":" in device:
        raise InputError(f"Ray deals the GPUs itself: use --device cuda instead of {device!r}.")
    gpus = sum(int(machine.get("GPU", 0)) for machine in machines)
    if device != "cpu" and (gpus or device == "cuda"):
        workers = wanted or gpus
        if not 1 <= workers <= gpus:
            raise InputError(
                f"{max(workers, 1)} workers need a GPU each, and the cluster has {gpus}: ask for "
                "fewer with --workers, or use --device cpu."
            )
        return Share(workers, 1, 1)
    cpus = [int(machine.get("CPU", 0)) for machine in machines]
    workers = wanted or max(1, sum(count > 0 for count in cpus))
    for each in range(max(cpus, default=0), 0, -1):
        if sum(count // each for count in cpus) >= workers:
            return Share(workers, each, 0)
    raise InputError(
        f"The cluster has {sum(cpus)} processors, too few for {workers} workers: ask for fewer "
        "with --workers."
    )
