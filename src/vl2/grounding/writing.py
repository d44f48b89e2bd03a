"""From boxes to the text that a model reads and writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vl2.errors import InputError
from vl2.grounding.boxes import (
    DET_CLOSE,
    DET_OPEN,
    GRID,
    REF_CLOSE,
    REF_OPEN,
    TAG_PATTERN,
    Box,
)


def format_boxes(
    label: str, boxes: Iterable[Box | Sequence[float]], width: int, height: int
) -> str:
    """Write boxes the way the model does, the inverse of `parse`.

    Args:
        label: what the boxes show.
        boxes: boxes in pixels, as `Box` (their own labels are not used) or as four numbers.
        width: width of their picture in pixels.
        height: its height.

    Returns:
        `<|ref|>label<|/ref|><|det|>[[x1, y1, x2, y2], ...]<|/det|>`, corners in 0..`GRID`,
        rounded to the nearest and clamped.

    Raises:
        InputError: the picture has no size, or the label holds a tag.
    """
    if width <= 0 or height <= 0:
        raise InputError(f"Boxes need a picture of at least one pixel, got {width}x{height}.")
    listed = ", ".join(
        "[" + ", ".join(map(str, _on_grid(box, width, height))) + "]" for box in boxes
    )
    return f"{_reference(label)}{DET_OPEN}[{listed}]{DET_CLOSE}"


def locate_question(phrase: str) -> str:
    """The question that makes the model point at something, as the original's README asks it.

    Raises:
        InputError: the phrase is empty or no text, or holds a tag.
    """
    if not isinstance(phrase, str) or not phrase.strip():
        raise InputError("There is nothing to look for: name the thing to locate.")
    return f"{_reference(phrase.strip())}."


def _reference(label: str) -> str:
    if TAG_PATTERN.search(label):
        raise InputError(f"The label {label!r} holds a grounding tag: give plain words.")
    return f"{REF_OPEN}{label}{REF_CLOSE}"


def _on_grid(box: Box | Sequence[float], width: int, height: int) -> list[int]:
    x1, y1, x2, y2 = box.corners if isinstance(box, Box) else box
    scaled = (x1 / width, y1 / height, x2 / width, y2 / height)
    return [min(max(round(part * GRID), 0), GRID) for part in scaled]
