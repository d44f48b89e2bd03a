"""What a benchmark asks, what came out, and what a benchmark is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vl2.chat import Picture
from vl2.errors import InputError
from vl2.evals.benchmarks.rows import Row


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        id: unique within a benchmark.
        prompt: what is asked; `<image>` where the pictures go, before it if it has none.
        pictures: in order.
        answers: the right ones.
        category: what scores are split by.
        group: questions that count together have the same.
        options: texts of the options by their letters.
        facts: what else the judging needs; JSON values.
    """

    id: str
    prompt: str
    pictures: tuple[Picture, ...]
    answers: tuple[str, ...]
    category: str = ""
    group: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an answer is worth, 0 to 1, and what was read out of it (None: nothing)."""

    score: float
    said: str | None


@dataclass(frozen=True, slots=True)
class Record:
    """One question answered and judged; a line of the predictions.

    Attributes:
        id: of the question.
        group: of the question.
        category: of the question.
        prompt: what was asked.
        answers: the right ones.
        prediction: what the model wrote, tags and all.
        said: what was read out of it.
        score: what it is worth.
        facts: of the question.
        error: why there is no answer, if there is none.
    """

    id: str
    group: str
    category: str
    prompt: str
    answers: tuple[str, ...]
    prediction: str
    said: str | None
    score: float
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The record as JSON shows it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Record:
        """The inverse.

        Raises:
            InputError: something is missing or too much.
        """
        try:
            fields: dict[str, Any] = {**values, "answers": tuple(values["answers"])}
            return cls(**fields)
        except (TypeError, KeyError) as error:
            raise InputError(f"This is no line of predictions ({error}).") from error


Scores = dict[str, float]
"""Scores of a run by name; the first one is that of the benchmark."""


@dataclass(frozen=True, slots=True)
class Task:
    """A benchmark.

    Attributes:
        name: on the command line.
        title: for people.
        ask: the questions of a row; none if it does not belong to the benchmark.
        judge: of an answer.
        total: scores of all records.
        best: the highest score there is.
        unit: what the score is called.
        max_tiles: local tiles of the largest candidate resolution.
        max_tokens: length limit of an answer.
    """

    name: str
    title: str
    ask: Callable[[Row], Sequence[Question]]
    judge: Callable[[Question, str], Judgement]
    total: Callable[[Sequence[Record]], Scores]
    best: float = 100.0
    unit: str = "accuracy, %"
    max_tiles: int = 9
    max_tokens: int = 2048


def mean_scores(records: Sequence[Record]) -> Scores:
    """The mean in per cent, and that of each category if there are several."""
    scores = {"score": _mean(records)}
    categories = sorted({record.category for record in records})
    if len(categories) > 1:
        for category in categories:
            scores[category or "other"] = _mean([r for r in records if r.category == category])
    return scores


def _mean(records: Sequence[Record]) -> float:
    return 100 * sum(record.score for record in records) / len(records) if records else 0.0
