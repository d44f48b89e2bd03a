"""What a box is, and the tags that carry boxes in text (DeepSeek-VL2 paper, section 3)."""

from __future__ import annotations

import re
from dataclasses import dataclass

GRID = 999
"""Boxes in text are whole numbers from 0 to this, in parts of the picture's width and height."""

REF_OPEN, REF_CLOSE = "<|ref|>", "<|/ref|>"
DET_OPEN, DET_CLOSE = "<|det|>", "<|/det|>"
GROUNDING = "<|grounding|>"
TAGS = (REF_OPEN, REF_CLOSE, DET_OPEN, DET_CLOSE, GROUNDING)

TAG_PATTERN = re.compile("(" + "|".join(re.escape(tag) for tag in TAGS) + ")")
"""Splits a text at its tags and keeps them."""


@dataclass(frozen=True, slots=True)
class Box:
    """A labelled rectangle: left, top, right, bottom.

    In pixels of the picture as it is shown (after its EXIF orientation), or in 0..`GRID` where a
    function says so. As a text it is what people read: `[10, 20, 110, 220] the dog`.
    """

    label: str
    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return (self.x1, self.y1, self.x2, self.y2)

    @property
    def whole(self) -> tuple[int, int, int, int]:
        """The corners as people read them: in whole pixels."""
        return (round(self.x1), round(self.y1), round(self.x2), round(self.y2))

    def __str__(self) -> str:
        return f"{list(self.whole)} {self.label}".rstrip()

    def as_dict(self) -> dict[str, str | list[float]]:
        """The box as JSON shows it; corners are rounded to a tenth of a pixel."""
        return {"label": self.label, "box": [round(value, 1) for value in self.corners]}
