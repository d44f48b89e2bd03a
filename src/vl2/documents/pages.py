"""Which pages of a document: `1-3,7,10-`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vl2.errors import InputError

_PART = re.compile(r"(\d{1,9})?(-)?(?(2)(\d{1,9})?)")


@dataclass(frozen=True, slots=True)
class PageChoice:
    """Pages by number from 1.

    Attributes:
        ranges: first and last page of each range; 0 as the last stands for the end.
    """

    ranges: tuple[tuple[int, int], ...] = ((1, 0),)

    @classmethod
    def parse(cls, text: str) -> PageChoice:
        """Read a choice as people write it: `all`, `3`, `1-3,7`, `10-`, `-2`.

        Raises:
            InputError: it is malformed.
        """
        if text.strip().lower() == "all":
            return cls()
        return cls(tuple(_range(part.strip(), text) for part in text.split(",")))

    def of(self, count: int) -> list[int]:
        """The chosen page numbers of a document of `count` pages, ascending, each once."""
        chosen: set[int] = set()
        for first, last in self.ranges:
            chosen.update(range(first, min(last or count, count) + 1))
        return sorted(chosen)

    def __str__(self) -> str:
        if self.ranges == ((1, 0),):
            return "all"
        return ",".join(_spelled(first, last) for first, last in self.ranges)


def _range(part: str, text: str) -> tuple[int, int]:
    match = _PART.fullmatch(part)
    if match is None or not (match[1] or match[3]):
        raise InputError(f"{text!r} names no pages: write them like 1-3,7 or 10- (to the end).")
    first = int(match[1] or 1)
    last = int(match[3] or 0) if match[2] else first
    if first < 1 or (match[3] and last < first):
        raise InputError(f"{part!r} names no pages: they count from 1, the smaller number first.")
    return first, last


def _spelled(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first}-{last or ''}"
