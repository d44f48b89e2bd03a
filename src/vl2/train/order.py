"""Which row comes when: a pure function of seed, epoch and index; a run can resume anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from vl2.errors import InputError
from vl2.train.rows import Lesson, Rows

_LONGEST_PERIOD = 10_000


class Shuffled:
    """An endless order of rows, shuffled anew in every epoch.

    Args:
        count: rows of an epoch.
        seed: of the order; epoch `e` is the permutation of the generator of `(*seed, e)`.
    """

    def __init__(self, count: int, *seed: int) -> None:
        self._count = count
        self._seed = seed
        self._known: tuple[int, NDArray[np.intp]] | None = None

    def row(self, index: int) -> int:
        """The number of the row at a place of the order."""
        epoch, place = divmod(index, self._count)
        if self._known is None or self._known[0] != epoch:
            random = np.random.default_rng([*self._seed, epoch])
            self._known = (epoch, random.permutation(self._count))
        return int(self._known[1][place])


class Shares:
    """An endless sequence of parts with given weights, as even as it can be.

    Among the first `n` places every part has its share of `n`, rounded up or down; so in any
    window it differs from its share by less than two, and after each period by nothing. (Each
    place goes to the part, among those whose share has begun to rise, whose next one is due first.)

    Args:
        weights: of the parts, in any unit; to four digits.

    Raises:
        InputError: no weights, or one that is so small that its part would never come.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        counts = _whole_counts(weights)
        period = sum(counts)
        taken = [0] * len(counts)
        places: list[int] = []
        for place in range(period):
            begun = [p for p, c in enumerate(counts) if taken[p] * period < (place + 1) * c]
            part = min(begun, key=lambda p: Fraction((taken[p] + 1) * period, counts[p]))
            places.append(part)
            taken[part] += 1
        self._counts = counts
        self._places = places
        chosen = np.array(places)[:, None] == np.arange(len(counts))
        self._before = chosen.cumsum(axis=0) - chosen

    def place(self, index: int) -> tuple[int, int]:
        """The part at a place of the sequence, and how many of that part came before."""
        period, rest = divmod(index, len(self._places))
        part = self._places[rest]
        return part, period * self._counts[part] + int(self._before[rest, part])


class Mixture:
    """The endless order of a mixture of data: parts by weight, each shuffled by itself.

    Args:
        parts: the sets of rows.
        weights: how often each comes.
        seed: of the orders.
    """

    def __init__(self, parts: Sequence[Rows], weights: Sequence[float], seed: int) -> None:
        self._parts = parts
        self._shares = Shares(weights)
        self._orders = [Shuffled(len(part), seed, number) for number, part in enumerate(parts)]
        self._starts = np.cumsum([0, *(len(part) for part in parts)])

    def __len__(self) -> int:
        """Rows of all parts together."""
        return int(self._starts[-1])

    def number(self, index: int) -> int:
        """The number, through all parts, of the row at a place of the order."""
        part, place = self._shares.place(index)
        return int(self._starts[part]) + self._orders[part].row(place)

    def row(self, number: int) -> Lesson:
        """The row of a number through all parts; raises `BadRowError`."""
        part, place = self._found(number)
        return replace(self._parts[part](place), part=part)

    def name(self, number: int) -> str:
        """What the row of a number through all parts is called in messages."""
        part, place = self._found(number)
        return self._parts[part].name(place)

    def _found(self, number: int) -> tuple[int, int]:
        """The part that a number through all parts falls into, and the number in that part."""
        part = int(np.searchsorted(self._starts, number, side="right")) - 1
        return part, number - int(self._starts[part])

    def __call__(self, index: int) -> Lesson:
        """The row at a place of the order; raises `BadRowError`."""
        return self.row(self.number(index))


def _whole_counts(weights: Sequence[float]) -> list[int]:
    """Whole numbers in the proportion of the weights, with a sum that is not too long a period.

    Raises:
        InputError: no weights, or one that is too small beside the others.
    """
    total = sum(weights)
    if not weights or min(weights) < 0 or total <= 0:
        raise InputError(f"A mixture needs weights that are not all 0, got {list(weights)}.")
    counts = _rounded([weight / total for weight in weights])
    lost = [weight for weight, count in zip(weights, counts, strict=True) if weight and not count]
    if lost:
        raise InputError(
            f"In a mixture, the weight {lost[0]:g} of {total:g} altogether is a share of "
            f"{lost[0] / total:.1g}, and no part can have less than {1 / _LONGEST_PERIOD:g}: "
            "raise it, or leave that part out."
        )
    return counts


def _rounded(weights: Sequence[float]) -> list[int]:
    """Whole numbers in the proportion of weights whose sum is 1."""
    shares = [Fraction(weight).limit_denominator(_LONGEST_PERIOD) for weight in weights]
    period = math.lcm(*(share.denominator for share in shares))
    counts = [int(share * period) for share in shares]
    if period <= _LONGEST_PERIOD and sum(counts) == period:
        return counts
    exact = [weight * _LONGEST_PERIOD for weight in weights]
    counts = [int(part) for part in exact]
    rest = sorted(range(len(exact)), key=lambda p: counts[p] - exact[p])
    for part in rest[: _LONGEST_PERIOD - sum(counts)]:
        counts[part] += 1
    return counts
