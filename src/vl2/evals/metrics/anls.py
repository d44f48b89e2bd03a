"""Average normalised Levenshtein similarity, the metric of DocVQA and InfographicVQA.

Biten et al. 2019, "Scene Text Visual Question Answering", in the form of the benchmark's own
evaluation: texts are compared in lower case with single spaces, lengths are those of the texts in
capitals with all their spaces, and a similarity below 0.5 counts as 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from vl2.evals.metrics.distance import edit_distance

THRESHOLD = 0.5


def anls(prediction: str, answers: Sequence[str]) -> float:
    """Similarity to the most similar of the right answers, 0 or 0.5 to 1.

    Args:
        prediction: what the model said.
        answers: at least one.
    """
    similarity = max(1 - _distance(prediction, answer) for answer in answers)
    return similarity if similarity >= THRESHOLD else 0.0


def _distance(prediction: str, answer: str) -> float:
    length = max(len(prediction.upper()), len(answer.upper()))
    return edit_distance(_plain(prediction), _plain(answer)) / length if length else 0.0


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
