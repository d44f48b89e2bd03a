"""All benchmarks by name, and what the authors report for the released models."""

from __future__ import annotations

from dataclasses import dataclass

from vl2.errors import InputError, did_you_mean
from vl2.evals.benchmarks import options, others, texts
from vl2.evals.benchmarks.questions import Task

_VERBS = ("synth", "documents", "reproduce")  # evaluations of other kinds

TASKS: dict[str, Task] = {task.name: task for task in (*texts.TASKS, *options.TASKS, *others.TASKS)}


def find_task(name: str) -> Task:
    """The benchmark of that name.

    Raises:
        InputError: there is none.
    """
    if name not in TASKS:
        raise InputError(
            f"There is no evaluation {name!r}.{did_you_mean(name, (*_VERBS, *TASKS))} "
            f"Use {', '.join(_VERBS)} or one of {', '.join(TASKS)}."
        )
    return TASKS[name]


@dataclass(frozen=True, slots=True)
class Reported:
    """A published score.

    Attributes:
        task: name of the benchmark.
        split: which part of it.
        scores: of tiny, small and base, where known.
        source: who published it.
    """

    task: str
    split: str
    scores: tuple[float | None, float | None, float | None]
    source: str = "paper"


SIZES = ("tiny", "small", "base")
_PAPER, _KIT = "paper", "VLMEvalKit #697"

REPORTED = (
    Reported("docvqa", "test", (88.9, 92.3, 93.3), _PAPER),
    Reported("chartqa", "test", (81.0, 84.5, 86.0), _PAPER),
    Reported("chartqa", "test", (81.2, 84.48, None), _KIT),
    Reported("infovqa", "test", (66.1, 75.8, 78.1), _PAPER),
    Reported("textvqa", "val", (80.7, 83.4, 84.2), _PAPER),
    Reported("textvqa", "val", (80.4, 83.34, None), _KIT),
    Reported("ocrbench", "", (809, 834, 811), _PAPER),
    Reported("ocrbench", "", (804, 835, None), _KIT),
    Reported("mmstar", "", (45.9, 57.0, 61.3), _PAPER),
    Reported("mmstar", "", (49.3, 57.0, None), _KIT),
    Reported("ai2d", "test", (71.6, 80.0, 81.4), _PAPER),
    Reported("ai2d", "test", (74.8, 79.0, None), _KIT),
    Reported("mmmu", "val", (40.7, 48.0, 51.1), _PAPER),
    Reported("mmmu", "val", (40.2, 47.8, None), _KIT),
    Reported("mme", "", (1915, 2123, 2253), _PAPER),
    Reported("mmbench", "en, test", (73.3, 82.3, 83.1), _PAPER),
    Reported("mmbench", "cn, test", (69.2, 80.3, 79.6), _PAPER),
    Reported("mmbench", "V1.1", (68.3, 79.3, 79.2), _PAPER),
    Reported("realworldqa", "", (64.2, 65.4, 68.4), _PAPER),
    Reported("realworldqa", "", (65.1, 69.4, None), _KIT),
    Reported("mathvista", "testmini", (53.6, 60.7, 62.8), _PAPER),
    Reported("refcoco", "val", (84.7, 93.9, 95.1), _PAPER),
    Reported("refcoco", "testA", (87.8, 95.3, 96.7), _PAPER),
    Reported("refcoco", "testB", (78.4, 91.3, 92.7), _PAPER),
    Reported("refcoco+", "val", (75.9, 89.4, 91.2), _PAPER),
    Reported("refcoco+", "testA", (83.9, 92.9, 94.9), _PAPER),
    Reported("refcoco+", "testB", (67.4, 84.8, 87.4), _PAPER),
    Reported("refcocog", "val", (73.8, 92.6, 92.8), _PAPER),
    Reported("refcocog", "test", (83.9, 92.6, 92.9), _PAPER),
)


def reported(task: str) -> tuple[Reported, ...]:
    """What is published for a benchmark."""
    return tuple(entry for entry in REPORTED if entry.task == task)
