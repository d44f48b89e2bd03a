"""The pictures that come with the package, drawn from a fixed description.

They show shapes and print as the embedded model is trained on, with strings that its training
never prints, and a table, a chart and a marked thing, which are examples for larger models.
`save` writes them to the folder that the package takes them from.
"""

import os
import pathlib
from dataclasses import dataclass

from PIL import Image, ImageDraw

from vl2.synth import shapes
from vl2.synth.backgrounds import RGB
from vl2.synth.fonts import open_font
from vl2.synth.names import COLOURS

SIZE = (480, 360)
_SUPERSAMPLING = 4


@dataclass(frozen=True, slots=True)
class Figure:
    """A shape: its centre, its length and its turn."""

    shape: str
    colour: str
    x: float
    y: float
    size: float
    degrees: float = 0.0


@dataclass(frozen=True, slots=True)
class Print:
    """A string: the left end of its base line, its font and its size."""

    string: str
    colour: str
    x: float
    y: float
    font: str
    size: int


@dataclass(frozen=True, slots=True)
class Plate:
    """A rounded area behind a string."""

    colour: RGB
    box: tuple[float, float, float, float]
    radius: float


@dataclass(frozen=True, slots=True)
class Description:
    """A picture: the colours of its ground at the top and at the bottom, and what is on it."""

    top: RGB
    bottom: RGB
    parts: tuple[Figure | Print | Plate, ...]


GALLERY: dict[str, Description] = {
    "shapes": Description(
        (255, 255, 255),
        (236, 242, 250),
        (
            Figure("star", "red", 118, 112, 150, 6),
            Figure("circle", "blue", 352, 104, 118),
            Figure("triangle", "green", 96, 276, 110, -5),
            Figure("heart", "purple", 238, 262, 112, 4),
            Figure("diamond", "orange", 392, 266, 124),
        ),
    ),
    "sign": Description(
        (214, 234, 250),
        (246, 250, 253),
        (
            Plate((24, 44, 74), (54, 104, 426, 256), 24),
            Print("BEACH", "white", 87, 210, "DejaVuSans-Bold", 82),
        ),
    ),
    "receipt": Description(
        (224, 226, 220),
        (224, 226, 220),
        (
            Plate((253, 253, 251), (104, 24, 376, 336), 6),
            Print("Toast", "black", 140, 110, "DejaVuSansMono-Bold", 54),
            Print("Butter", "black", 140, 200, "DejaVuSansMono-Bold", 54),
            Print("$7.40", "black", 140, 290, "DejaVuSansMono-Bold", 54),
        ),
    ),
    "mixed": Description(
        (255, 252, 240),
        (255, 243, 222),
        (
            Figure("star", "yellow", 82, 96, 96, -8),
            Figure("heart", "red", 396, 92, 100, 8),
            Print("Party", "purple", 106, 222, "DejaVuSerif-Bold", 92),
            Figure("circle", "green", 96, 292, 84),
            Figure("moon", "blue", 388, 292, 92, 12),
        ),
    ),
    "table": Description(
        (238, 240, 244),
        (238, 240, 244),
        (
            Plate((176, 184, 196), (24, 36, 456, 324), 8),
            *(Plate((255, 255, 255), (26, top, 286, top + 94), 4) for top in (38, 133, 228)),
            *(Plate((255, 255, 255), (288, top, 454, top + 94), 4) for top in (38, 133, 228)),
            Print("Plates", "black", 44, 102, "DejaVuSans-Bold", 44),
            Print("$6.90", "black", 306, 102, "DejaVuSans-Bold", 44),
            Print("Chairs", "black", 44, 197, "DejaVuSans-Bold", 44),
            Print("$18.60", "black", 294, 197, "DejaVuSans-Bold", 40),
            Print("Apple", "black", 44, 292, "DejaVuSans-Bold", 44),
            Print("$2.95", "black", 306, 292, "DejaVuSans-Bold", 44),
        ),
    ),
    "chart": Description(
        (255, 255, 255),
        (255, 255, 255),
        (
            Plate((120, 124, 132), (36, 296, 444, 300), 0),
            Plate((0, 119, 230), (58, 216, 152, 296), 0),
            Plate((0, 158, 96), (193, 140, 287, 296), 0),
            Plate((255, 112, 20), (328, 64, 422, 296), 0),
            Print("$4.20", "black", 60, 206, "DejaVuSans-Bold", 30),
            Print("$8.20", "black", 195, 130, "DejaVuSans-Bold", 30),
            Print("$12.20", "black", 321, 54, "DejaVuSans-Bold", 30),
            Print("Apple", "black", 58, 338, "DejaVuSans-Bold", 30),
            Print("Plates", "black", 189, 338, "DejaVuSans-Bold", 30),
            Print("Chairs", "black", 322, 338, "DejaVuSans-Bold", 30),
        ),
    ),
    "marked": Description(
        (240, 248, 240),
        (240, 248, 240),
        (
            Plate((230, 20, 40), (40, 60, 232, 252), 0),
            Plate((240, 248, 240), (46, 66, 226, 246), 0),
            Figure("star", "yellow", 136, 154, 140, 4),
            Figure("circle", "blue", 356, 112, 110),
            Figure("triangle", "green", 356, 274, 104, 6),
        ),
    ),
}


def draw(description: Description) -> Image.Image:
    """Draws a description as an RGB picture of `SIZE`."""
    s = _SUPERSAMPLING
    fade = Image.new("RGB", (1, 2))
    fade.putpixel((0, 0), description.top)
    fade.putpixel((0, 1), description.bottom)
    large = (s * SIZE[0], s * SIZE[1])
    image = fade.resize(large, Image.Resampling.BILINEAR, box=(0, 0.5, 1, 1.5))
    pen = ImageDraw.Draw(image)
    for part in description.parts:
        if isinstance(part, Figure):
            corners, width, height = shapes.turned(part.shape, part.size, part.degrees)
            left, top = part.x - width / 2, part.y - height / 2
            outline = [(s * (left + x), s * (top + y)) for x, y in corners]
            pen.polygon(outline, fill=COLOURS[part.colour])
        elif isinstance(part, Print):
            font = open_font(part.font, s * part.size)
            place, colour = (s * part.x, s * part.y), COLOURS[part.colour]
            pen.text(place, part.string, fill=colour, font=font, anchor="ls")
        else:
            corners = tuple(s * edge for edge in part.box)
            pen.rounded_rectangle(corners, s * part.radius, fill=part.colour)
    return image.resize(SIZE, Image.Resampling.LANCZOS)


def save(folder: str | os.PathLike[str]) -> None:
    """Draws every picture of the gallery as a PNG file into a folder that exists."""
    for name, description in GALLERY.items():
        picture = draw(description)
        picture.save(pathlib.Path(folder) / f"{name}.png", optimize=True)
