"""Which documents share a row, and which rows a device gets.

Two things are balanced, because ranks wait for each other in every pass: the tokens of the language
model and the tiles of the vision encoder, weighed by what each costs (paper, section 4.3: image
tiles are balanced over data-parallel ranks). First documents are packed so that rows cost alike;
then the rows of a step are dealt to ranks and passes. Neither depends on how many devices there
are more than it must: the rows of a step are the same rows on any number of them, and so are the
loss and its gradients, to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vl2.errors import InputError
from vl2.model.sizes import ModelSizes
from vl2.train.measure import Sizes

_ROWS_AT_ONCE = 128
"""Rows that are packed together. More balance better; fewer mix the data's order less."""

_MOST_MARKS = 64
"""Places where packing can begin again that are kept in memory."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a token and a tile cost, in any one unit."""

    token: float
    tile: float

    @classmethod
    def of(cls, sizes: ModelSizes) -> Cost:
        """The operations of a model."""
        return cls(float(sizes.flops_per_token), float(sizes.flops_per_tile))

    def __call__(self, tokens: NDArray[np.int64], tiles: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.token * tokens + self.tile * tiles


@dataclass(frozen=True, slots=True)
class _Mark:
    """Where packing can begin again: the next row, and all that decides it and those after it."""

    row: int = 0
    place: int = 0
    left: tuple[int, ...] = ()


class Packing:
    """The endless sequence of rows, each a tuple of document numbers.

    Rows are packed 128 at once, from what the ones before have left, and only the last 128 are
    kept: a long run has hundreds of millions. Who asks for an earlier row gets the same one again,
    packed anew from the nearest of a few marks.

    Args:
        order: the document at each place of the endless order.
        sizes: of the documents; those with 0 tokens are left out.
        max_tokens: that a row holds.
        cost: of tokens and tiles.

    Raises:
        InputError: no document can be learnt from.
    """

    def __init__(
        self, order: Callable[[int], int], sizes: Sizes, max_tokens: int, cost: Cost
    ) -> None:
        if not sizes.tokens.any():
            raise InputError("None of the rows can be learnt from.")
        self._order = order
        self._sizes = sizes
        self._max_tokens = max_tokens
        self._cost = cost(sizes.tokens, sizes.tiles)
        self._means = float(self._cost.mean()), float(sizes.tokens.mean())
        self._marks = [_Mark()]
        self._apart = _ROWS_AT_ONCE
        self._next = _Mark()
        self._rows: list[tuple[int, ...]] = []

    def row(self, index: int) -> tuple[int, ...]:
        """The documents of a row; those before it are packed first."""
        if index < self._next.row - len(self._rows):
            self._rows = []
            self._next = max((m for m in self._marks if m.row <= index), key=lambda m: m.row)
        while index >= self._next.row:
            self._pack_some()
        return self._rows[index - self._next.row]

    def size(self, index: int) -> tuple[int, int]:
        """Tokens and tiles of a row."""
        documents = list(self.row(index))
        return int(self._sizes.tokens[documents].sum()), int(self._sizes.tiles[documents].sum())

    def _pack_some(self) -> None:
        place, documents = self._next.place, list(self._next.left)
        room = _ROWS_AT_ONCE * self._max_tokens - int(self._sizes.tokens[documents].sum())
        while room > 0:
            document = self._order(place)
            place += 1
            if tokens := int(self._sizes.tokens[document]):
                documents.append(document)
                room -= tokens
        self._rows, left = self._packed(documents, len(self._next.left))
        self._next = _Mark(self._next.row + len(self._rows), place, tuple(left))
        self._remember(self._next)

    def _remember(self, mark: _Mark) -> None:
        """Keep a mark if it is far enough from the last; of too many every other one goes."""
        if mark.row - self._marks[-1].row < self._apart:
            return
        self._marks.append(mark)
        if len(self._marks) > _MOST_MARKS:
            del self._marks[1::2]
            self._apart *= 2

    def _packed(self, documents: list[int], waited: int) -> tuple[list[tuple[int, ...]], list[int]]:
        """Rows of equal cost, and the documents that found no room.

        The first `waited` documents found no room before and come first, or small ones would wait
        for long; then the dearest and longest. Each goes to the cheapest row that has room for it.
        The rows come in the order of their first documents. Of a small set the same document comes
        several times, so what is packed are places in `documents`.
        """
        cost, tokens = self._cost[documents], self._sizes.tokens[documents]
        size = cost / self._means[0] + tokens / self._means[1]
        order = np.lexsort((-size, np.arange(len(documents)) >= waited))
        rows: list[list[int]] = [[] for _ in range(_ROWS_AT_ONCE)]
        room = np.full(_ROWS_AT_ONCE, self._max_tokens)
        worth = np.zeros(_ROWS_AT_ONCE)
        left = []
        for place, need, price in zip(
            order.tolist(), tokens[order].tolist(), cost[order].tolist(), strict=True
        ):
            row = int(worth.argmin())
            if room[row] < need:
                fits = room >= need
                if not fits.any():
                    left.append(place)
                    continue
                row = int(np.where(fits, worth, np.inf).argmin())
            rows[row].append(place)
            room[row] -= need
            worth[row] += price
        in_order = sorted((row for row in rows if row), key=min)
        packed = [tuple(documents[place] for place in row) for row in in_order]
        return packed, [documents[place] for place in sorted(left)]


def level(costs: Sequence[float], steps: int, *seed: int) -> list[int]:
    """Rows of several steps shared out so that those of a step cost alike.

    A device that has a single row of a step can be given no less than that row. Then the slowest
    can only be near the mean if all rows of the step cost about the same.

    Args:
        costs: of the rows of the steps, a multiple of them.
        steps: among which the rows are shared out.
        seed: of the order in which cheap and dear steps come.

    Returns:
        The rows' numbers, step after step.
    """
    by_cost = np.argsort(-np.asarray(costs), kind="stable").reshape(steps, -1)
    return np.random.default_rng(seed).permutation(by_cost).ravel().tolist()


def deal(costs: Sequence[float], ranks: int, batch_size: int) -> list[int]:
    """In which order the rows of a step are to be read, so that ranks have equal work.

    A loader hands consecutive batches to the ranks in turn. Rows of like cost go to one pass; in a
    pass each row goes, the dearest first, to the rank with the least work that still has a place.

    Args:
        costs: of the rows of a step, a multiple of `ranks * batch_size`.
        ranks: devices that wait for each other.
        batch_size: rows of a pass on one of them.

    Returns:
        The rows' numbers in reading order.
    """
    by_cost = sorted(range(len(costs)), key=lambda row: -costs[row])
    dealt = []
    for start in range(0, len(costs), ranks * batch_size):
        hands: list[list[int]] = [[] for _ in range(ranks)]
        work = [0.0] * ranks
        for row in by_cost[start : start + ranks * batch_size]:
            free = [rank for rank in range(ranks) if len(hands[rank]) < batch_size]
            rank = min(free, key=lambda rank: work[rank])
            hands[rank].append(row)
            work[rank] += costs[row]
        dealt += [row for hand in hands for row in hand]
    return dealt


def slowest_over_mean(costs: Sequence[float], ranks: int, batch_size: int) -> float:
    """How much longer a step takes than if the work were even, for rows in reading order.

    In each pass all ranks wait for the one with the most work.
    """
    work = np.asarray(costs).reshape(-1, ranks, batch_size).sum(axis=2)
    return float(work.max(axis=1).sum() / work.mean(axis=1).sum())
