"""Relaxed accuracy, the metric of ChartQA (Masry et al. 2022, end of section 5.1)."""

from __future__ import annotations

TOLERANCE = 0.05


def is_relaxed_match(prediction: str, answer: str) -> bool:
    """Whether a number is within 5 % of the right one, or another answer equal apart from case.

    A number may end in `%`, which divides it by 100. A right answer of 0 leaves no tolerance, so
    it is compared as text.
    """
    said, right = _number(prediction), _number(answer)
    if said is not None and right:
        return abs(said - right) / abs(right) <= TOLERANCE
    return prediction.lower() == answer.lower()


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
