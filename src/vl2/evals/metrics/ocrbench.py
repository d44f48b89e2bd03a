"""OCRBench: is the right text in the answer (Liu et al. 2023, "OCRBench")."""

from __future__ import annotations

from collections.abc import Iterable

HANDWRITTEN_MATHS = "Handwritten Mathematical Expression Recognition"
"""The category in which spaces do not count but case does."""

_SPELLINGS = {"HME100k": HANDWRITTEN_MATHS}


def contains_answer(prediction: str, answers: Iterable[str], category: str) -> bool:
    """Whether one of the right texts stands in the answer.

    Args:
        prediction: what the model said.
        answers: right texts.
        category: of the question, or the name of its data set.
    """
    plain = _compact if _SPELLINGS.get(category, category) == HANDWRITTEN_MATHS else _flat
    said = plain(prediction)
    return any(plain(answer) in said for answer in answers)


def _flat(text: str) -> str:
    return text.lower().strip().replace("\n", " ")


def _compact(text: str) -> str:
    return text.strip().replace("\n", " ").replace(" ", "")
