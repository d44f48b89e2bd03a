"""From conversations to batches: the same processing as inference, with a loss mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset

from vl2.errors import InputError
from vl2.processing.processor import DeepseekVLV2Processor
from vl2.processing.prompt import Prompt
from vl2.train.recipe import Recipe
from vl2.train.rows import UNUSABLE, BadRowError, Lesson
from vl2.train.vision import DenseTargets, stack_targets

Example = TypeVar("Example")


class Indexed(Dataset[Example]):
    """`count` examples, each a pure function of its index, so that a run can resume anywhere."""

    def __init__(self, example: Callable[[int], Example], count: int) -> None:
        self._example = example
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Example:
        return self._example(index)


@dataclass(frozen=True, slots=True, eq=False)
class EncodedLesson:
    """A lesson as the model reads it, and the part of the mixture that it belongs to."""

    prompt: Prompt
    dense: DenseTargets | None = None
    part: int = 0


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that was left out, and why: `NAME: REASON`."""

    reason: str


Row = list[EncodedLesson | Skipped]
"""What one row of a batch holds: one lesson, or several if they are packed."""


class Encoder:
    """Turns lessons into prompts with a loss on their answers."""

    def __init__(self, processor: DeepseekVLV2Processor, recipe: Recipe) -> None:
        self._processor = processor
        self._recipe = recipe

    def __call__(self, read: Callable[[int], Lesson], index: int) -> EncodedLesson | Skipped:
        """The lesson that `read` finds at an index, or why it cannot be learnt from.

        Raises:
            VL2Error: a lesson without a name, which is not the user's data, cannot be used.
        """
        try:
            lesson = read(index)
        except BadRowError as error:
            return Skipped(str(error))
        try:
            return self._encoded(lesson)
        except UNUSABLE as error:
            if not lesson.name:
                raise
            return Skipped(str(BadRowError(lesson.name, error)))

    def _encoded(self, lesson: Lesson) -> EncodedLesson:
        recipe, eos = self._recipe, self._processor.tokenizer.eos_token_id
        prompt = self._processor.encode(
            lesson.conversation,
            max_tiles=recipe.max_tiles or None,
            generate=False,
            mask_prompt=recipe.mask_prompt,
            max_tokens=None if lesson.divisible else recipe.max_tokens,
        )
        if lesson.divisible:
            prompt = whole_turns(prompt, recipe.max_tokens, eos)
        return EncodedLesson(prompt, lesson.dense, lesson.part)


def whole_turns(prompt: Prompt, max_tokens: int, eos: int) -> Prompt:
    """The prompt without the turns at its end that go over `max_tokens`.

    Raises:
        InputError: not even the first answer fits.
    """
    if len(prompt) <= max_tokens:
        return prompt
    ends = np.flatnonzero(prompt.token_ids[:max_tokens] == eos)
    pictures_end = int(np.flatnonzero(prompt.image_mask)[-1]) if prompt.image_mask.any() else -1
    if len(ends) == 0 or ends[-1] < pictures_end:
        raise InputError(
            f"A training conversation of {len(prompt)} tokens does not fit {max_tokens} tokens "
            "up to its first answer after the last picture: raise max_tokens."
        )
    end = int(ends[-1]) + 1
    return replace(
        prompt,
        token_ids=prompt.token_ids[:end],
        image_mask=prompt.image_mask[:end],
        supervised=prompt.supervised[:end],
    )


class Collator:
    """Puts rows into the arguments of the model's forward pass, padded on the right.

    Beside those a batch holds what the Trainer takes out again: `skipped`, the reasons of rows
    that were left out; `documents`, how many lessons there are; `parts` `[b, t]`, the part of the
    mixture that each token belongs to; and `dense`, labels of patches, where they are known.

    Args:
        processor: knows the padding.
        packed: whether rows hold several lessons, which must not see each other.
        max_tokens: length of packed rows.
    """

    def __init__(
        self, processor: DeepseekVLV2Processor, *, packed: bool = False, max_tokens: int = 0
    ) -> None:
        self._processor = processor
        self._packed = packed
        self._max_tokens = max_tokens

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        skipped = [item.reason for row in rows for item in row if isinstance(item, Skipped)]
        found = [[item for item in row if isinstance(item, EncodedLesson)] for row in rows]
        if self._packed:
            found = _joined(found, self._max_tokens)
        lessons = [lesson for row in found for lesson in row]
        batch = self._packed_rows(found) if self._packed or not lessons else self._rows(lessons)
        dense = [lesson.dense for lesson in lessons if lesson.dense is not None]
        if dense:
            batch["dense"] = stack_targets(dense)
        return {**batch, "documents": len(lessons), "skipped": skipped}

    def _rows(self, lessons: list[EncodedLesson]) -> dict[str, Any]:
        prompts = [lesson.prompt for lesson in lessons]
        batch = dict(self._processor.collate(prompts, padding_side="right", labels=True))
        batch["labels"][:, 0] = -100  # nothing comes before the first token to predict it from
        parts = torch.tensor([lesson.part for lesson in lessons])
        batch["parts"] = parts[:, None].expand_as(batch["labels"])
        return batch

    def _packed_rows(self, rows: list[list[EncodedLesson]]) -> dict[str, Any]:
        length = max([self._max_tokens, *map(_length, rows)])
        shape = (len(rows), max(1, length))
        ids = torch.full(shape, self._processor.vocabulary.ids.pad)
        labels = torch.full(shape, -100)
        documents, parts = (torch.zeros(shape, dtype=torch.long) for _ in range(2))
        number = 0
        for line, row in enumerate(rows):
            start = 0
            for lesson in row:
                number += 1
                place = (line, slice(start, start + len(lesson.prompt)))
                ids[place] = torch.from_numpy(lesson.prompt.token_ids)
                labels[place] = torch.from_numpy(lesson.prompt.labels())
                labels[line, start] = -100  # what comes before is another document
                documents[place], parts[place] = number, lesson.part
                start += len(lesson.prompt)
        batch = {"input_ids": ids, "labels": labels, "document_ids": documents, "parts": parts}
        prompts = [lesson.prompt for row in rows for lesson in row]
        return {**batch, **_pictures(prompts)}


def _joined(rows: list[list[EncodedLesson]], max_tokens: int) -> list[list[EncodedLesson]]:
    """Rows put together where there is room, the longest first.

    Rendered lessons come one a row; rows from files are full, and stay as they are.
    """
    joined: list[list[EncodedLesson]] = []
    room: list[int] = []
    for row in sorted(rows, key=_length, reverse=True):
        place = next((i for i, free in enumerate(room) if free >= _length(row)), len(room))
        if place == len(room):
            joined.append([])
            room.append(max_tokens)
        joined[place] += row
        room[place] -= _length(row)
    return joined


def _length(row: list[EncodedLesson]) -> int:
    return sum(len(lesson.prompt) for lesson in row)


def _pictures(prompts: list[Prompt]) -> dict[str, torch.Tensor]:
    grids = [prompt.images_spatial_crop for prompt in prompts if prompt.grids]
    if not grids:
        return {}
    pixels = [prompt.pixel_values for prompt in prompts if prompt.grids]
    return {
        "pixel_values": torch.from_numpy(np.concatenate(pixels)),
        "images_spatial_crop": torch.from_numpy(np.concatenate(grids)),
    }
