"""Rows of data: from a line of a file to a conversation whose pictures can be opened.

A row is a JSON object with `messages`, in any spelling that `vl2.chat` reads (OpenAI's content
parts among them), and `images` for the pictures that the messages do not name themselves: paths
inside one folder, or `data:` URLs that hold the bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vl2.chat import Conversation, Image, Message, Picture, as_conversation
from vl2.errors import (
    ContextError,
    ConversationError,
    ImageError,
    InputError,
    MissingExtraError,
)
from vl2.train.vision import DenseTargets

MAX_ROW_BYTES = 64 * 2**20
"""A row with its pictures inside may be this long."""

UNUSABLE = (ContextError, ConversationError, ImageError, MissingExtraError)
"""What laying a row out may raise, and then counts as a bad row.

A package that one picture needs is among them: one HEIC picture does not end a run.
"""

_READING_ERRORS = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError)


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """A conversation to learn from.

    Attributes:
        conversation: what was said; its answers are what is learnt.
        dense: what its pictures' patches show, where that is known.
        name: where it comes from, for people.
        part: number of the part of the mixture that it belongs to.
        divisible: whether turns at its end may be left out to make it fit.
    """

    conversation: Conversation
    dense: DenseTargets | None = None
    name: str = ""
    part: int = 0
    divisible: bool = False


class BadRowError(InputError):
    """A row that cannot be learnt from; its text is `NAME: REASON`."""

    def __init__(self, name: str, reason: object) -> None:
        super().__init__(f"{name}: {' '.join(str(reason).split())[:300]}")


class Rows(Protocol):
    """A set of rows that can be read in any order."""

    def __len__(self) -> int:
        """How many rows."""
        ...

    def __call__(self, number: int) -> Lesson:
        """The row of a number from 0; raises `BadRowError`."""
        ...

    def name(self, number: int) -> str:
        """What the row of a number is called in messages; it is not read for that."""
        ...


class JsonRows:
    """The rows of a JSONL file.

    Args:
        path: of the file; it is not read into memory.
        root: folder that picture paths are relative to and may not leave; None for the file's own.

    Raises:
        InputError: there is no such file, or it has no lines.
    """

    def __init__(self, path: Path, root: Path | None = None) -> None:
        if not path.is_file():
            raise InputError(f"There is no data file {path}: check the path.")
        self._path = path
        self._root = root or path.parent
        self._starts = _line_starts(path)
        if not self._starts:
            raise InputError(f"The data file {path} has no lines.")

    def __len__(self) -> int:
        return len(self._starts)

    def __call__(self, number: int) -> Lesson:
        """The row of a number from 0.

        Raises:
            BadRowError: it is no row, or names a picture outside the folder.
        """
        name = self.name(number)
        with self._path.open("rb") as file:
            file.seek(self._starts[number][0])
            text = file.readline(MAX_ROW_BYTES + 1)
        if len(text) > MAX_ROW_BYTES:
            raise BadRowError(name, f"longer than {MAX_ROW_BYTES // 2**20} MiB")
        return Lesson(read_row(text, name, lambda source: inside(self._root, source)), name=name)

    def name(self, number: int) -> str:
        """What the row of a number is called in messages."""
        return f"{self._path}, line {self._starts[number][1]}"


def read_row(text: bytes, name: str, find: Callable[[str], Picture]) -> Conversation:
    """The conversation of a row's JSON.

    Args:
        text: the JSON.
        name: of the row.
        find: turns a picture's path into what can be opened, or raises `InputError`.

    Raises:
        BadRowError: the text is no row.
    """
    try:
        row = json.loads(text)
        conversation = as_conversation(row["messages"], _listed(row.get("images", [])))
        return with_pictures(conversation, find)
    except _READING_ERRORS as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise BadRowError(name, reason) from error


def with_pictures(conversation: Conversation, find: Callable[[str], Picture]) -> Conversation:
    """The conversation with every picture that is named by a path looked up."""
    messages = []
    for message in conversation.messages:
        parts = [
            Image(find(os.fspath(part.source)))
            if isinstance(part, Image) and isinstance(part.source, str | os.PathLike)
            else part
            for part in message.parts
        ]
        messages.append(Message(message.role, tuple(parts)))
    return Conversation(tuple(messages))


def inside(root: Path, name: str) -> str:
    """The absolute path of a picture that lies inside `root`.

    Raises:
        InputError: it does not.
    """
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise InputError(f"the picture {name!r} lies outside the data file's folder")
    return str(path)


def _line_starts(path: Path) -> list[tuple[int, int]]:
    """Place and number of every line that is not blank."""
    starts, place = [], 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                starts.append((place, number))
            place += len(line)
    return starts


def _listed(images: object) -> list[Any]:
    if not isinstance(images, list):
        raise InputError(f"images must be a list, got {type(images).__name__}")
    return images
