"""One row of a benchmark's file, whatever kind of file it was."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vl2.chat import IMAGE_TOKEN, Picture
from vl2.errors import InputError

MAX_LITERAL = 1_000_000
"""Characters of a list that stands in a cell as text."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its values by the names of the columns, and its pictures in order.

    Attributes:
        number: counted from 1, for messages.
        values: cells; those of text files are all strings.
        pictures: what the columns of pictures hold.
    """

    number: int
    values: Mapping[str, Any]
    pictures: tuple[Picture, ...] = ()

    def find(self, *names: str) -> Any:  # noqa: ANN401 - cells are of any type
        """The first of several columns that has something in it; `None` if none has."""
        for name in names:
            value = self.values.get(name)
            if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
                continue
            return value
        return None

    def text(self, *names: str) -> str:
        """The same as text.

        Raises:
            InputError: none of the columns has anything in it.
        """
        value = self.find(*names)
        if value is None:
            raise InputError(
                f"Row {self.number} has nothing in the column {' or '.join(names)}: its columns "
                f"are {', '.join(self.values)}."
            )
        return str(value)

    def question(self, *names: str) -> str:
        """The same, without the places of pictures that some files write into it."""
        return re.sub(rf"{re.escape(IMAGE_TOKEN)}\n?", "", self.text(*names)).strip()

    def texts(self, *names: str) -> tuple[str, ...]:
        """Texts of a column that holds a list, a list written as text, or one text.

        Raises:
            InputError: none of the columns has anything in it, or the list is empty.
        """
        value = self.find(*names)
        texts = () if value is None else tuple(str(item) for item in as_list(value))
        if not texts:
            raise InputError(f"Row {self.number} has nothing in the column {' or '.join(names)}.")
        return texts

    def whole(self, name: str, default: int) -> int:
        """The whole number in a column; files of numbers with gaps write `2.0`.

        Raises:
            InputError: something else is there.
        """
        value = self.find(name)
        try:
            number = float(default if value is None else value)
            if not number.is_integer():
                raise ValueError
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"Row {self.number} has no whole number in the column {name}: {str(value)[:40]!r}."
            ) from error
        return int(number)


def as_list(value: Any) -> list[Any]:  # noqa: ANN401
    """A list as it is, a list written as text read, anything else as a list of one."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if hasattr(value, "tolist"):
        return list(value.tolist())
    if isinstance(value, str) and value[:1] == "[" and value.rstrip()[-1:] == "]":
        return _literal(value)
    return [value]


def _literal(text: str) -> list[Any]:
    """Read a list; text that only looks like one is one text. Nothing is evaluated."""
    if len(text) > MAX_LITERAL:
        return [text]
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return [text]
    return found if isinstance(found, list) else [text]
