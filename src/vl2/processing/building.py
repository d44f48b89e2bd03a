"""Pieces and pictures become a `Prompt`, if the model's context holds it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from vl2.chat import Picture
from vl2.errors import ContextError, InputError
from vl2.processing.images import DEFAULT_LIMITS, Limits, cut, open_image
from vl2.processing.prompt import Prompt
from vl2.processing.template import Piece, encode
from vl2.processing.tiling import Grid, Tiling, tiles_conversation
from vl2.processing.tokens import Vocabulary


@dataclass(frozen=True, slots=True)
class Recipe:
    """How pictures are cut and what fits, as a model was trained.

    Attributes:
        tiling: which grid a picture gets.
        mean: mean of each channel for values in 0..1, and the colour of margins.
        std: standard deviation of each channel.
        normalize: whether mean and deviation are applied to the pixels.
        max_tokens: tokens that the model's context holds.
        limits: how large a picture may be.

    Raises:
        InputError: a value that no picture could be cut with.
    """

    tiling: Tiling
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    normalize: bool = True
    max_tokens: int = 4096
    limits: Limits = DEFAULT_LIMITS

    def __post_init__(self) -> None:
        whole = len(self.mean) == len(self.std) == 3 and all(0 <= part <= 1 for part in self.mean)
        if not whole or min(self.std) <= 0:
            raise InputError(
                "Mean (0 to 1) and deviation (above 0) need a number for each of three channels, "
                f"got {self.mean} and {self.std}."
            )
        if self.max_tokens < 1:
            raise InputError(f"A context needs at least one token, got {self.max_tokens}.")


def build_prompt(
    pieces: Iterable[Piece],
    pictures: Sequence[Picture],
    vocabulary: Vocabulary,
    recipe: Recipe,
    *,
    mask_prompt: bool = True,
) -> Prompt:
    """Tokenise pieces and cut the pictures that they have places for.

    Args:
        pieces: of one conversation; the number of pictures decides for all of it whether they
            are tiled.
        pictures: in the order of their places.
        vocabulary: the tokenizer.
        recipe: how to cut, and how much fits.
        mask_prompt: supervise answers only; otherwise everything but pictures.

    Raises:
        ConversationError: the numbers of places and of pictures differ.
        ContextError: the prompt has more tokens than the context holds.
        ImageError: a picture cannot be opened.
    """
    images = [open_image(picture, limits=recipe.limits) for picture in pictures]
    sizes = [image.size for image in images]
    grids = choose_grids(sizes, recipe.tiling)
    image_tokens = [recipe.tiling.tokens(grid) for grid in grids]
    encoding = encode(pieces, vocabulary, image_tokens, mask_prompt=mask_prompt)
    if len(encoding.token_ids) > recipe.max_tokens:
        raise _too_long(len(encoding.token_ids), image_tokens, sizes, recipe)
    return Prompt(
        encoding.token_ids,
        encoding.image_mask,
        encoding.supervised,
        _cut_all(images, grids, recipe),
        grids,
    )


def choose_grids(sizes: Sequence[tuple[int, int]], tiling: Tiling) -> tuple[Grid, ...]:
    """The grid of each picture of one conversation.

    Args:
        sizes: width and height of each picture in pixels.
        tiling: the rule.
    """
    tiled = tiles_conversation(len(sizes))
    return tuple(tiling.grid(width, height, tiled=tiled) for width, height in sizes)


def truncated(prompt: Prompt, max_length: int) -> Prompt:
    """The first `max_length` tokens of a prompt.

    Raises:
        ContextError: a part of a picture would be cut off.
    """
    if prompt.image_mask[max_length:].any():
        raise ContextError(
            f"The prompt has {len(prompt)} tokens, and cutting it to {max_length} would cut off "
            f"a part of a picture: allow at least {prompt.image_mask.nonzero()[0][-1] + 1} tokens, "
            "or use fewer pictures or a smaller max_tiles."
        )
    return replace(
        prompt,
        token_ids=prompt.token_ids[:max_length],
        image_mask=prompt.image_mask[:max_length],
        supervised=prompt.supervised[:max_length],
    )


def _cut_all(
    images: Sequence[PIL.Image.Image], grids: Sequence[Grid], recipe: Recipe
) -> NDArray[np.float32]:
    side = recipe.tiling.tile_size
    tiles = [
        cut(image, grid, recipe.tiling, recipe.mean, recipe.std, normalize=recipe.normalize)
        for image, grid in zip(images, grids, strict=True)
    ]
    return np.concatenate([np.empty((0, 3, side, side), dtype=np.float32), *tiles])


def _too_long(
    total: int, image_tokens: Sequence[int], sizes: Sequence[tuple[int, int]], recipe: Recipe
) -> ContextError:
    """Say what takes the room and what would help."""
    message = f"The conversation has {total} tokens, but the context holds {recipe.max_tokens}"
    if not image_tokens:
        return ContextError(f"{message}: shorten the text.")
    each = ", ".join(
        f"picture {number} ({width}x{height}) {count}"
        for number, (count, (width, height)) in enumerate(
            zip(image_tokens, sizes, strict=True), start=1
        )
    )
    text = total - sum(image_tokens)
    if text > recipe.max_tokens:
        return ContextError(
            f"{message}: {each}, text {text}; shorten the text, too long by itself."
        )
    fitting = _fitting_max_tiles(sizes, recipe, recipe.max_tokens - text)
    way_out = f"set max_tiles={fitting}, or use" if fitting else "use"
    return ContextError(f"{message}: {each}, text {text}; {way_out} fewer pictures or less text.")


def _fitting_max_tiles(sizes: Sequence[tuple[int, int]], recipe: Recipe, room: int) -> int | None:
    """The largest `max_tiles` with which the pictures fit into `room` tokens."""
    for max_tiles in range(recipe.tiling.max_tiles, 0, -1):
        tiling = recipe.tiling.limited(max_tiles)
        if sum(map(tiling.tokens, choose_grids(sizes, tiling))) <= room:
            return max_tiles
    return None
