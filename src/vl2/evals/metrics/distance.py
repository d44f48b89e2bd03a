"""How far two sequences are apart: edit distance, character and word error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")


def edit_distance(a: Sequence[_Item], b: Sequence[_Item]) -> int:
    """Fewest insertions, deletions and substitutions that turn one into the other (Levenshtein)."""
    if len(a) < len(b):
        a, b = b, a
    row = list(range(len(b) + 1))
    for i, item in enumerate(a, start=1):
        above, row[0] = row[0], i
        for j, other in enumerate(b, start=1):
            cheapest = min(row[j], row[j - 1]) + 1
            above, row[j] = row[j], min(cheapest, above + (item != other))
    return row[-1]


def normalised_distance(a: Sequence[_Item], b: Sequence[_Item]) -> float:
    """Edit distance as a share of the longer one, 0 to 1; 0 if both are empty."""
    longer = max(len(a), len(b))
    return edit_distance(a, b) / longer if longer else 0.0


def character_error_rate(pairs: Iterable[tuple[str, str]]) -> float:
    """Edits of characters as a share of the reference's characters, over all texts together.

    Args:
        pairs: of reference and hypothesis. The rate passes 1 where much is written that is not
            there; it is 0 without any reference and hypothesis.
    """
    return _error_rate((list(reference), list(said)) for reference, said in pairs)


def word_error_rate(pairs: Iterable[tuple[str, str]]) -> float:
    """Edits of words (between white space) as a share of the reference's words; as above."""
    return _error_rate((reference.split(), said.split()) for reference, said in pairs)


def _error_rate(pairs: Iterable[tuple[list[str], list[str]]]) -> float:
    edits = length = 0
    for reference, said in pairs:
        edits += edit_distance(reference, said)
        length += len(reference)
    return edits / length if length else float(edits > 0)
