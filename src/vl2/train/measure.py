"""How long the rows of a set are, found without decoding a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Subset

from vl2.errors import ContextError
from vl2.processing.building import choose_grids
from vl2.processing.images import upright_size
from vl2.processing.processor import DeepseekVLV2Processor
from vl2.processing.template import encode, lay_out
from vl2.train.recipe import Recipe
from vl2.train.rows import UNUSABLE, BadRowError, Lesson

_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Size:
    """What a row takes: its tokens, places of pictures included, and its tiles.

    Attributes:
        tokens: 0 for a row that cannot be learnt from.
        tiles: tiles of its pictures, global views included.
        supervised: tokens with a loss.
        reason: why it cannot be learnt from, as `NAME: REASON`; else empty.
    """

    tokens: int
    tiles: int
    supervised: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Sizes:
    """The sizes of a set's rows by number, int64 `[rows]` each, and why some are skipped."""

    tokens: NDArray[np.int64]
    tiles: NDArray[np.int64]
    reasons: tuple[str, ...]


class Measurer(Dataset[Size]):
    """Tells the size of a row by its number.

    Args:
        read: gives the lesson of a number, or raises `BadRowError`.
        count: how many rows.
        processor: of the model.
        recipe: says what fits.
    """

    def __init__(
        self,
        read: Callable[[int], Lesson],
        count: int,
        processor: DeepseekVLV2Processor,
        recipe: Recipe,
    ) -> None:
        self._read = read
        self._count = count
        self._vocabulary = processor.vocabulary
        self._tiling = processor.tiling.limited(recipe.max_tiles or None)
        self._mask_prompt = recipe.mask_prompt
        self._max_tokens = recipe.max_tokens

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Size:
        try:
            lesson = self._read(index)
        except BadRowError as error:
            return Size(0, 0, reason=str(error))
        try:
            return self.measure(lesson)
        except UNUSABLE as error:
            return Size(0, 0, reason=str(BadRowError(lesson.name, error)))

    @property
    def vocabulary_size(self) -> int:
        """Words of the tokenizer."""
        return len(self._vocabulary.tokenizer)

    def measure(self, lesson: Lesson) -> Size:
        """The size of a lesson.

        Raises:
            ConversationError: it cannot be laid out.
            ContextError: it is too long.
            ImageError: a picture cannot be opened.
            MissingExtraError: a picture needs a package that is not there.
        """
        pieces = lay_out(lesson.conversation, self._vocabulary, generate=False)
        sizes = [upright_size(image.source) for image in lesson.conversation.images]
        grids = choose_grids(sizes, self._tiling)
        counts = [self._tiling.tokens(grid) for grid in grids]
        encoding = encode(pieces, self._vocabulary, counts, mask_prompt=self._mask_prompt)
        tokens = len(encoding.token_ids)
        if tokens > self._max_tokens:
            raise ContextError(
                f"{tokens} tokens ({sum(counts)} of them for pictures), and a row holds "
                f"{self._max_tokens}"
            )
        supervised = int(encoding.supervised[1:].sum())
        return Size(tokens, sum(grid.n_tiles for grid in grids), supervised)


def measure_each(measurer: Dataset[Size], workers: int) -> Iterator[Size]:
    """The sizes of all rows in their order, measured by `workers` processes (0: by this one)."""
    loader = DataLoader(measurer, _AT_ONCE, num_workers=workers, collate_fn=list)
    for sizes in loader:
        yield from sizes


def measure(
    measurer: Measurer | Subset[Size],
    workers: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Sizes:
    """The sizes of all rows.

    Args:
        measurer: of the set.
        workers: processes that measure.
        progress: is told how many rows are done.
    """
    tokens = np.zeros(len(measurer), dtype=np.int64)
    tiles = np.zeros_like(tokens)
    reasons = []
    for number, size in enumerate(measure_each(measurer, workers)):
        tokens[number], tiles[number] = size.tokens, size.tiles
        if size.reason:
            reasons.append(size.reason)
        progress(number + 1)
    return Sizes(tokens, tiles, tuple(reasons))


def measure_again(measurer: Measurer, sizes: Sizes, workers: int) -> Sizes:
    """Sizes with those rows measured again that could not be used; the same if there are none."""
    unusable = np.flatnonzero(sizes.tokens == 0)
    if not len(unusable):
        return sizes
    found = measure(Subset(measurer, unusable.tolist()), workers)
    tokens, tiles = sizes.tokens.copy(), sizes.tiles.copy()
    tokens[unusable], tiles[unusable] = found.tokens, found.tiles
    return Sizes(tokens, tiles, found.reasons)
