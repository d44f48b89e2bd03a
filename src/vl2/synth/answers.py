"""How boxes are spelt in answers: the official 0..999 text, on a coarse scale."""

from collections.abc import Iterable

from vl2.synth.things import Thing

COORDINATE_STEP = 10
"""Coordinates in answers are multiples of this, so that a small model learns about a hundred
number words instead of a thousand; the far end of the scale stays 999."""

COORDINATES: tuple[int, ...] = (*range(0, 1000, COORDINATE_STEP), 999)
"""Every coordinate that an answer may hold."""

MOST_BOXES = 4
"""No answer lists more boxes than this."""


def coordinate(position: float, length: int) -> int:
    """A position along a side of the picture, in 0..999, rounded to `COORDINATE_STEP`."""
    value = position / length * 999
    return max(0, min(999, COORDINATE_STEP * int(value / COORDINATE_STEP + 0.5)))


def detections(things: Iterable[Thing], width: int, height: int) -> str:
    """The boxes of things in a picture: `<|det|>[[x1, y1, x2, y2], ...]<|/det|>`."""
    boxes = [
        f"[{coordinate(thing.x1, width)}, {coordinate(thing.y1, height)}, "
        f"{coordinate(thing.x2, width)}, {coordinate(thing.y2, height)}]"
        for thing in things
    ]
    return f"<|det|>[{', '.join(boxes)}]<|/det|>"


def reference(phrase: str, things: Iterable[Thing], width: int, height: int) -> str:
    """A phrase and the boxes that it stands for: `<|ref|>phrase<|/ref|><|det|>...<|/det|>`."""
    return f"<|ref|>{phrase}<|/ref|>{detections(things, width, height)}"
