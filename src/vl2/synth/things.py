"""What a rendered picture holds: things with names and boxes, and the cells of its letters."""

import functools
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from vl2.processing.tiling import Tiling, candidate_resolutions
from vl2.synth import strings

TILING = Tiling(candidate_resolutions(96, 4), tile_size=96, patch_size=12, downsample=2)
"""The tiling that pictures are made for: things stay legible on its canvas."""

Character = tuple[str, float, float, float, float]
"""A printed character and its cell: x1, y1, x2, y2 in pixels of the picture."""


@dataclass(frozen=True, slots=True)
class Thing:
    """Something on a picture that has a name: a shape or a printed string.

    Attributes:
        kind: "shape" or "text".
        colour: The name of its colour.
        name: The name of the shape, or the printed string.
        x1: Left edge of its box in pixels of the picture.
        y1: Top edge.
        x2: Right edge.
        y2: Bottom edge.
    """

    kind: Literal["shape", "text"]
    colour: str
    name: str
    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def label(self) -> str:
        """What it is called in full: `red star`, `word "house"`."""
        return f"{self.colour if self.kind == 'shape' else self.noun} {self.quoted}"

    @property
    def noun(self) -> str:
        """What it is in general: "shape", "word" or "number"."""
        if self.kind == "shape":
            return "shape"
        return "number" if strings.is_number(self.name) else "word"

    @property
    def quoted(self) -> str:
        """The name, between quotation marks if it is printed."""
        return self.name if self.kind == "shape" else f'"{self.name}"'

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of its box."""
        return (self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture, what is on it, and the cells of its letters."""

    image: Image.Image
    things: tuple[Thing, ...]
    characters: tuple[Character, ...]


@functools.lru_cache(maxsize=4096)
def canvas_scale(width: int, height: int, *, tiled: bool = True) -> float:
    """Pixels of the canvas to one pixel of a picture of this size.

    `tiled` is False where the picture is one of many, which are shown in a single tile each.
    """
    canvas_width, canvas_height = TILING.canvas(TILING.grid(width, height, tiled=tiled))
    return min(canvas_width / width, canvas_height / height)
