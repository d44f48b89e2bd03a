"""From conversations to batches: the same processing as inference, with a loss mask."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from vl2.chat import Conversation, Image, Message, as_conversation
from vl2.errors import InputError
from vl2.processing.processor import DeepseekVLV2Processor
from vl2.processing.prompt import Prompt
from vl2.train.recipe import Recipe
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


class JsonLines:
    """Conversations of a JSONL file, one object with `messages` and maybe `images` a line.

    Picture paths are relative to the file's folder and may not leave it.
    """

    def __init__(self, path: Path, seed: int) -> None:
        if not path.is_file():
            raise InputError(f"There is no data file {path}: give a JSONL file, or 'synth'.")
        self._path = path
        self._seed = seed
        self._starts = _line_starts(path)
        self._order: tuple[int, NDArray[np.intp]] | None = None
        if not self._starts:
            raise InputError(f"The data file {path} has no lines.")

    def __call__(self, index: int) -> Lesson:
        """The lesson at a place of the endless, reshuffled order of the file's lines."""
        epoch, place = divmod(index, len(self._starts))
        number = int(self._order_of(epoch)[place])
        with self._path.open("rb") as file:
            file.seek(self._starts[number])
            line = file.readline()
        try:
            row = json.loads(line)
            conversation = as_conversation(row["messages"], _listed(row.get("images", [])))
            return Lesson(_with_pictures_inside(conversation, self._path.parent))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            where = f"{self._path}, line {number + 1}"
            raise InputError(f"A row that cannot be used for training: {where}: {error}") from error

    def _order_of(self, epoch: int) -> NDArray[np.intp]:
        if self._order is None or self._order[0] != epoch:
            random = np.random.default_rng([self._seed, epoch])
            self._order = (epoch, random.permutation(len(self._starts)))
        return self._order[1]


def _line_starts(path: Path) -> list[int]:
    starts, place = [], 0
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                starts.append(place)
            place += len(line)
    return starts


def _listed(images: object) -> list[Any]:
    if not isinstance(images, list):
        raise InputError(f"images must be a list, got {type(images).__name__}")
    return images


def _with_pictures_inside(conversation: Conversation, root: Path) -> Conversation:
    """The conversation with the paths of its pictures made absolute, inside `root` only."""
    messages = []
    for message in conversation.messages:
        parts = [
            Image(_inside(root, part.source))
            if isinstance(part, Image) and isinstance(part.source, str | os.PathLike)
            else part
            for part in message.parts
        ]
        messages.append(Message(message.role, tuple(parts)))
    return Conversation(tuple(messages))


def _inside(root: Path, name: str | os.PathLike[str]) -> str:
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise InputError(f"the picture {str(name)!r} lies outside the data file's folder")
    return str(path)


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """A conversation to learn from, and what its pictures' patches show where that is known."""

    conversation: Conversation
    dense: DenseTargets | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EncodedLesson:
    """A lesson as the model reads it."""

    prompt: Prompt
    dense: DenseTargets | None


class Encoder:
    """Turns the lesson at an index into a prompt with a loss on its answers."""

    def __init__(
        self,
        source: Callable[[int], Lesson],
        processor: DeepseekVLV2Processor,
        recipe: Recipe,
    ) -> None:
        self._source = source
        self._processor = processor
        self._recipe = recipe

    def __call__(self, index: int) -> EncodedLesson:
        lesson = self._source(index)
        recipe, eos = self._recipe, self._processor.tokenizer.eos_token_id
        prompt = self._processor.encode(
            lesson.conversation,
            max_tiles=recipe.max_tiles or None,
            generate=False,
            mask_prompt=recipe.mask_prompt,
        )
        return EncodedLesson(whole_turns(prompt, recipe.max_tokens, eos), lesson.dense)


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
    return Prompt(
        token_ids=prompt.token_ids[:end],
        image_mask=prompt.image_mask[:end],
        supervised=prompt.supervised[:end],
        pixel_values=prompt.pixel_values,
        grids=prompt.grids,
    )


class Collator:
    """Pads prompts on the right into the arguments of the model's forward pass."""

    def __init__(self, processor: DeepseekVLV2Processor) -> None:
        self._processor = processor

    def __call__(self, lessons: Sequence[EncodedLesson]) -> dict[str, Any]:
        prompts = [lesson.prompt for lesson in lessons]
        batch = dict(self._processor.collate(prompts, padding_side="right", labels=True))
        batch["labels"][:, 0] = -100  # nothing comes before the first token to predict it from
        targets = [lesson.dense for lesson in lessons if lesson.dense is not None]
        return {**batch, "dense": stack_targets(targets)} if targets else batch
