"""RefCOCO: is the box right (Acc@0.5, Precision@1 of Yu et al. 2016)."""

from __future__ import annotations

from vl2 import grounding

THRESHOLD = 0.5

Corners = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


def intersection_over_union(a: Corners, b: Corners) -> float:
    """The area that two boxes share, as a share of the area that they cover together."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    tall = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0.0) * max(tall, 0.0)
    covered = _area(a) + _area(b) - shared
    return shared / covered if covered > 0 else 0.0


def first_box(prediction: str, width: int, height: int) -> Corners | None:
    """The first box of an answer in pixels of the picture; its own numbers are 0 to 999."""
    boxes = grounding.parse(prediction, width, height)
    return boxes[0].corners if boxes else None


def _area(box: Corners) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
