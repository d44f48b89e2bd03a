"""MME: yes or no, by pairs of questions about a picture (Fu et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

PERCEPTION = (
    "existence",
    "count",
    "position",
    "color",
    "posters",
    "celebrity",
    "scene",
    "landmark",
    "artwork",
    "OCR",
)
COGNITION = (
    "commonsense_reasoning",
    "numerical_calculation",
    "text_translation",
    "code_reasoning",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether one question was answered right.

    Attributes:
        category: one of `PERCEPTION` or `COGNITION`.
        picture: name of the picture, which two questions share.
        right: whether the answer was.
    """

    category: str
    picture: str
    right: bool


def yes_or_no(prediction: str) -> Literal["yes", "no"] | None:
    """What an answer says: `yes` or `no` within its first four characters; else neither."""
    said = prediction.strip().lower()
    if "yes" in said[:4]:
        return "yes"
    return "no" if "no" in said[:4] else None


def mme_scores(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """Scores of a run.

    Args:
        outcomes: of all questions.

    Returns:
        For each category its accuracy and its share of pictures with both questions right, in
        per cent and added up (0 to 200); `perception` and `cognition`, the sums over their
        categories; and `total` (0 to 2800).
    """
    pictures: dict[str, dict[str, list[bool]]] = {}
    for outcome in outcomes:
        pictures.setdefault(outcome.category, {}).setdefault(outcome.picture, []).append(
            outcome.right
        )
    scores = {category: _score(answers) for category, answers in pictures.items()}
    perception = sum(scores.get(category, 0.0) for category in PERCEPTION)
    cognition = sum(scores.get(category, 0.0) for category in COGNITION)
    return {
        "total": perception + cognition,
        "perception": perception,
        "cognition": cognition,
        **scores,
    }


def _score(answers: Mapping[str, list[bool]]) -> float:
    rights = [right for pair in answers.values() for right in pair]
    accuracy = sum(rights) / len(rights)
    both = sum(all(pair) for pair in answers.values()) / len(answers)
    return 100 * (accuracy + both)
