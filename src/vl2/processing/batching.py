"""Prompts of different lengths become one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vl2.errors import InputError
from vl2.processing.prompt import Prompt

_GROUPS = ("text_kwargs", "images_kwargs", "common_kwargs")


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How rows become a batch; the names and meanings are those of transformers' processors.

    Attributes:
        padding: pad to the longest row (`True`, `"longest"`), to `max_length` (`"max_length"`),
            or not at all. Tensors need one length, so with `return_tensors` rows are padded anyway.
        padding_side: `left` for generation, `right` for training.
        pad_to_multiple_of: round the padded length up.
        truncation: cut rows to `max_length` tokens, if that cuts no picture.
        max_length: see `padding` and `truncation`.
        add_special_tokens: put `<bos>` before text that does not begin with it.
        return_tensors: `pt`, `np`, or `None` for lists.
        return_mm_token_type_ids: add `mm_token_type_ids`, 1 on the places of pictures.
        max_tiles: at most so many local tiles a picture.
    """

    padding: bool | str = False
    padding_side: str = "left"
    pad_to_multiple_of: int | None = None
    truncation: bool = False
    max_length: int | None = None
    add_special_tokens: bool = True
    return_tensors: str | None = None
    return_mm_token_type_ids: bool = False
    max_tiles: int | None = None

    def __post_init__(self) -> None:
        if self.padding_side not in ("left", "right"):
            raise InputError(f"padding_side must be left or right, got {self.padding_side!r}.")
        if self.padding not in (True, False, "longest", "max_length", "do_not_pad"):
            raise InputError(
                "padding must be a bool, 'longest', 'max_length' or 'do_not_pad', "
                f"got {self.padding!r}."
            )

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> BatchOptions:
        """Read keyword arguments, flat or in transformers' groups such as `text_kwargs`.

        `None` stands for an option that was not given, also for options that do not exist here.

        Raises:
            InputError: an option that is not one of the fields.
        """
        options = {key: value for key, value in given.items() if key not in _GROUPS}
        for group in _GROUPS:
            options.update(given.get(group) or {})
        options = {key: value for key, value in options.items() if value is not None}
        known = {field.name for field in fields(cls)}
        unknown = sorted(options.keys() - known)
        if unknown:
            raise InputError(
                f"The processor has no option {', '.join(unknown)}: "
                f"it knows {', '.join(sorted(known))}."
            )
        return cls(**options)

    @property
    def pads(self) -> bool:
        """Whether the rows of a batch get one length."""
        return self.padding not in (False, "do_not_pad") or self.return_tensors is not None

    def length_of(self, rows: Sequence[Prompt]) -> int:
        """The length of a padded batch."""
        length = max(len(row) for row in rows)
        if self.padding == "max_length" and self.max_length is not None:
            length = max(length, self.max_length)
        multiple = self.pad_to_multiple_of or 1
        return -(-length // multiple) * multiple


def collate(
    prompts: Sequence[Prompt],
    columns: Mapping[str, tuple[Sequence[NDArray[Any]], int]],
    options: BatchOptions,
) -> dict[str, Any]:
    """Put columns of rows together, and the pictures of all rows behind one another.

    Args:
        prompts: the rows.
        columns: for each name the rows, `[t]` each, and the value to pad with.
        options: how to pad.

    Returns:
        The columns `[b, t]` (as lists if they may differ in length), and, if any row has a
        picture, `pixel_values` float32 `[N, 3, s, s]` and `images_spatial_crop` int64
        `[n_images, 2]`.
    """
    if not prompts:
        raise InputError("A batch needs at least one prompt, got none.")
    batch: dict[str, Any] = {}
    for name, (rows, fill) in columns.items():
        if options.pads:
            padded = _padded(rows, fill, options.length_of(prompts), options.padding_side)
            batch[name] = padded if options.return_tensors else padded.tolist()
        else:
            batch[name] = [row.tolist() for row in rows]
    if any(prompt.grids for prompt in prompts):
        batch["pixel_values"] = np.concatenate([prompt.pixel_values for prompt in prompts])
        batch["images_spatial_crop"] = np.concatenate(
            [prompt.images_spatial_crop for prompt in prompts]
        )
    return batch


def _padded(rows: Sequence[NDArray[Any]], fill: int, length: int, side: str) -> NDArray[Any]:
    """Stack rows of different lengths into `[b, length]`."""
    batch = np.full((len(rows), length), fill, dtype=rows[0].dtype)
    for target, row in zip(batch, rows, strict=True):
        start = length - len(row) if side == "left" else 0
        target[start : start + len(row)] = row
    return batch
