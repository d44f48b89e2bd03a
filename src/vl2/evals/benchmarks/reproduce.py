"""The authors' tables against ours: which benchmarks a model reaches and where it falls short."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vl2.errors import InputError
from vl2.evals.benchmarks.files import SUFFIXES
from vl2.evals.benchmarks.questions import Scores
from vl2.evals.benchmarks.table import REPORTED, SIZES, TASKS, Reported

TOLERANCE = 0.01
"""A score may lie this share of the benchmark's best score below the published one."""

STAND_INS: Mapping[str, tuple[str, ...]] = {"test": ("val", "dev"), "testmini": ("mini",)}
"""The answers of some test parts are not public; people have the part for validation or
development instead. Others go by two names."""

_REVISED, _TOGETHER = "v11", "refcoco"

State = Literal["reached", "falls short", "no data"]


@dataclass(frozen=True, slots=True)
class Target:
    """One published score and what there is to check it with.

    Attributes:
        published: the score, its benchmark and its source.
        score: the published score of the size in question.
        data: the file; None if there is none.
        shared: whether the file holds other parts as well.
    """

    published: Reported
    score: float
    data: Path | None
    shared: bool = False

    def state(self, ours: float | None) -> State:
        """How our score stands to it."""
        if ours is None:
            return "no data"
        slack = TOLERANCE * TASKS[self.published.task].best
        return "reached" if ours >= self.score - slack else "falls short"


def targets(size: str, folder: Path) -> list[Target]:
    """All published scores of a size, with the files in a folder that they can be checked with.

    A file belongs to a benchmark by its name: `DocVQA_TEST.tsv`, `docvqa-test.parquet`,
    `RefCOCO+_testA.jsonl`; a folder of parquet files is named alike. The part (`test`, `val`,
    `cn`) must stand in the name where a benchmark has several published parts, unless it is a
    file of all parts (VLMEvalKit's `RefCOCO.tsv`). Where there is no `test`, `val` or `dev` stands
    in for it.

    Args:
        size: `tiny`, `small` or `base`.
        folder: holds the files.

    Raises:
        InputError: no such size or folder.
    """
    if size not in SIZES:
        raise InputError(
            f"There is no released size {size!r}: use one of {', '.join(SIZES)}; for a model by "
            "another name say with --size whose scores it is to reach."
        )
    if not folder.is_dir():
        raise InputError(f"There is no folder {str(folder)!r}: name the folder of the data.")
    files = sorted(entry for entry in folder.iterdir() if _is_data(entry))
    index = SIZES.index(size)
    found = []
    for entry in REPORTED:
        score = entry.scores[index]
        if score is not None:
            data = _file_of(entry, files)
            shared = _shared(entry, files) if data is None else None
            found.append(Target(entry, score, data or shared, shared is not None))
    return found


def files_to_run(aims: Iterable[Target]) -> Iterator[tuple[str, Path]]:
    """Each benchmark and file once."""
    seen: set[tuple[str, Path]] = set()
    for aim in aims:
        if aim.data is not None and (aim.published.task, aim.data) not in seen:
            seen.add((aim.published.task, aim.data))
            yield aim.published.task, aim.data


def compared(
    aims: Iterable[Target], ours: Mapping[tuple[str, Path], Scores]
) -> Iterator[tuple[Target, float | None, State]]:
    """Each target with our score and its state."""
    for aim in aims:
        scores = ours.get((aim.published.task, aim.data)) if aim.data is not None else None
        score = _of_part(aim, scores) if scores is not None else None
        yield aim, score, aim.state(score)


def _of_part(aim: Target, scores: Scores) -> float | None:
    """Our score of the published part; None if a file of several parts does not hold it."""
    if not aim.shared:
        return scores["score"]
    wanted = _bare(aim.published.task + aim.published.split)
    return next((score for name, score in scores.items() if _bare(name) == wanted), None)


def _bare(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.lower())


def _is_data(entry: Path) -> bool:
    if entry.is_dir():
        return any(entry.glob("*.parquet"))
    return entry.suffix in SUFFIXES


def _file_of(entry: Reported, files: list[Path]) -> Path | None:
    """The file of a published score: that of its part, else one that stands in for it."""
    named = [file for file in files if _words(file)[0] == entry.task]
    parts = entry.split.lower().replace(",", " ").replace(".", "").split()
    for wanted in _spellings(parts):
        fitting = [file for file in named if _fits(_words(file), wanted)]
        if fitting:
            return min(fitting, key=lambda file: ("cn" in _words(file), len(_words(file))))
    splits = {other.split for other in REPORTED if other.task == entry.task}
    return next((file for file in named if len(splits) == 1 and len(_words(file)) == 1), None)


def _spellings(parts: list[str]) -> Iterator[list[str]]:
    """The words of a part, then those of what stands in for it."""
    yield parts
    for part, others in STAND_INS.items():
        for other in others if part in parts else ():
            yield [other if word == part else word for word in parts]


def _fits(words: list[str], wanted: list[str]) -> bool:
    """Whether a file is of a part; version 1.1 of a benchmark is another one."""
    return set(wanted) <= set(words[1:]) and (_REVISED in words) == (_REVISED in wanted)


def _shared(entry: Reported, files: list[Path]) -> Path | None:
    """A file of all parts of all RefCOCO benchmarks."""
    if not entry.task.startswith(_TOGETHER):
        return None
    return next((file for file in files if _words(file) == [_TOGETHER]), None)


def _words(file: Path) -> list[str]:
    """The benchmark's name and the words after it: `MMMU_DEV_VAL.tsv` is `mmmu dev val`."""
    name = file.name if file.is_dir() else file.stem
    return name.lower().replace("-", "_").replace(" ", "_").split("_")
