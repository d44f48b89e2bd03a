"""From model text to boxes and to readable text.

Model text is untrusted: it may be cut off, nested or nonsense. Parsing never raises on it, runs
in linear time, evaluates nothing, and returns at most `MAX_BOXES` boxes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from vl2.grounding.boxes import (
    DET_CLOSE,
    DET_OPEN,
    GRID,
    REF_CLOSE,
    REF_OPEN,
    TAG_PATTERN,
    TAGS,
    Box,
)

MAX_BOXES = 1000
"""More boxes than this in one text are a runaway repetition; the rest are ignored."""

# After its first digit the number alternative cannot fail, so nothing is ever tried twice.
_NUMBER_OR_BRACKET = re.compile(r"[\[\]]|-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)")
_LONGEST_NUMBER = 24
_COORDINATE_CHARACTERS = "0123456789[]().,;+- \t\r\n"


def parse(text: str, width: int, height: int) -> list[Box]:
    """Read the boxes of a model's text.

    Args:
        text: what the model wrote, with its tags.
        width: width of the picture that the boxes are in, in pixels.
        height: its height.

    Returns:
        Boxes in pixels, unrounded, in the order of the text.
    """
    return [
        replace(
            box,
            x1=box.x1 / GRID * width,
            y1=box.y1 / GRID * height,
            x2=box.x2 / GRID * width,
            y2=box.y2 / GRID * height,
        )
        for box in parse_normalised(text)
    ]


def parse_normalised(text: str) -> list[Box]:
    """Read the boxes of a model's text in the text's own unit, 0..`GRID`.

    Tolerated: texts that are cut off (a last box without its closing bracket is left out, for its
    last number may lack digits), missing or nested tags, lists nested too deep, numbers with
    decimals, values out of range (they are clamped), corners in the wrong order (they are
    swapped), lists whose length is no multiple of four (the rest is ignored), and fractions of
    the picture such as `0.25`. With as many labels as lists of boxes they belong together in
    order; otherwise a list belongs to the label before it.
    """
    labels, lists = _labels_and_lists(text)
    in_order = len(labels) == len(lists)
    boxes: list[Box] = []
    for index, found in enumerate(lists):
        nearest = index if in_order else found.label
        label = labels[nearest] if nearest >= 0 else ""
        for corners in _corners(found.text, found.ended):
            if len(boxes) == MAX_BOXES:
                return boxes
            boxes.append(Box(label, *corners))
    return boxes


def strip(text: str) -> str:
    """The readable text: labels stay, tags and coordinates go."""
    stripper = Stripper()
    return stripper.feed(text) + stripper.close()


class Stripper:
    """Takes tags and coordinates out of a text that arrives in pieces.

    What the pieces give together is what `strip` gives for the whole text, wherever it is cut. A
    tag of which the end of the text leaves only the beginning goes as well; `<` alone is part of
    one only where a tag must still be closed.
    """

    def __init__(self) -> None:
        self._held = ""
        self._in_label = self._in_list = False
        self._gap = False

    def feed(self, text: str) -> str:
        """Take the next piece; returns what has become readable."""
        text = self._held + text
        keep = _unfinished_tag(text)
        self._held = text[len(text) - keep :]
        return "".join(map(self._readable, TAG_PATTERN.split(text[: len(text) - keep])))

    def close(self) -> str:
        """The text has ended; returns what was held back and is no tag cut off."""
        held, self._held = self._held, ""
        return "" if len(held) > 1 or self._in_label or self._in_list else held

    def _readable(self, piece: str) -> str:
        if piece in TAGS:
            self._in_label, self._in_list = piece == REF_OPEN, piece == DET_OPEN
            self._gap = False
            return ""
        if not self._in_list or not piece:
            return piece
        # A list that was never closed ends where something else than coordinates begins.
        rest = piece.lstrip(_COORDINATE_CHARACTERS)
        swallowed = piece[: len(piece) - len(rest)]
        self._gap = swallowed[-1].isspace() if swallowed else self._gap
        if not rest:
            return ""
        self._in_list = False
        return (" " if self._gap else "") + rest


@dataclass(slots=True)
class _List:
    """The text of one list of boxes while it is read."""

    label: int
    """Index of the nearest label before it, -1 without one."""
    pieces: list[str] = field(default_factory=list)
    ended: bool = False
    """Whether a tag follows, so that the text was not cut off inside the list."""

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def _labels_and_lists(text: str) -> tuple[list[str], list[_List]]:
    """Sort the stretches between tags into labels and lists of boxes."""
    labels: list[str] = []
    lists: list[_List] = []
    label: str | None = None
    in_list = False
    for piece in TAG_PATTERN.split(text):
        if piece not in TAGS:
            if in_list:
                lists[-1].pieces.append(piece)
            elif label is not None:
                label += piece
            continue
        if in_list:
            lists[-1].ended = True
        if label is not None and piece in (REF_CLOSE, DET_OPEN):
            labels.append(label.strip())
            label = None
        if piece == REF_OPEN:
            label = ""
        if piece == DET_OPEN:
            lists.append(_List(len(labels) - 1))
        in_list = piece == DET_OPEN or (in_list and piece not in (DET_CLOSE, REF_OPEN))
    return labels, lists


def _corners(text: str, ended: bool) -> Iterator[tuple[float, float, float, float]]:
    """The corners of each box in a list's text; groups of numbers end at brackets."""
    group: list[str] = []
    for match in _NUMBER_OR_BRACKET.finditer(text):
        if match[0] not in "[]":
            group.append(match[0][:_LONGEST_NUMBER])
            continue
        yield from _boxes_of_group(group)
        group = []
    if ended:
        yield from _boxes_of_group(group)


def _boxes_of_group(group: list[str]) -> Iterator[tuple[float, float, float, float]]:
    """Every four numbers are a box; clamped, and with its corners in order."""
    for start in range(0, len(group) - 3, 4):
        four = group[start : start + 4]
        values = [float(number) for number in four]
        # No box is smaller than one step of the grid, so these are fractions of the picture.
        if max(values) <= 1 and any("." in number for number in four):
            values = [value * GRID for value in values]
        x1, y1, x2, y2 = (min(max(value, 0.0), float(GRID)) for value in values)
        yield (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))


def _unfinished_tag(text: str) -> int:
    """How many characters at the end may be the beginning of a tag."""
    start = text.rfind("<", max(0, len(text) - max(map(len, TAGS)) + 1))
    if start < 0:
        return 0
    tail = text[start:]
    return len(tail) if any(tag.startswith(tail) and tag != tail for tag in TAGS) else 0
