"""Boxes drawn into a picture."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable
from dataclasses import dataclass

import PIL.Image
from PIL import ImageDraw

from vl2.grounding.boxes import Box
from vl2.grounding.fonts import Font, legible

Colour = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]

# Eight colours far apart for people with and without red-green weakness, on dark and light.
_COLOURS: tuple[Colour, ...] = (
    (230, 57, 70),
    (0, 119, 230),
    (255, 183, 3),
    (0, 158, 96),
    (160, 60, 220),
    (0, 200, 220),
    (255, 112, 20),
    (240, 80, 180),
)
_GOLDEN_RATIO = 0.618034
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)


@dataclass(frozen=True, slots=True)
class _Plate:
    """A label's text and the rectangle that it is drawn on."""

    text: str
    font: Font
    place: Rectangle


def draw(image: PIL.Image.Image, boxes: Iterable[Box]) -> PIL.Image.Image:
    """Draw boxes and their labels into a copy of a picture.

    Boxes of one label share a colour. Labels stand on plates above their box, or inside it where
    there is no room above, and stay inside the picture.

    Args:
        image: the picture that the boxes refer to, already turned upright.
        boxes: boxes in its pixels.

    Returns:
        A new RGB picture of the same size.

    Warns:
        MissingGlyphWarning: no font at hand shows some characters of a label; they are drawn as
            their code points.
    """
    canvas = image.convert("RGB")
    pen = ImageDraw.Draw(canvas)
    boxes = list(boxes)
    colours: dict[str, Colour] = {}
    for box in boxes:
        colours.setdefault(box.label, _colour(len(colours)))
    line = max(2, round(min(canvas.size) / 180))
    for box in boxes:
        _outline(pen, _inside(box, canvas.size), colours[box.label], line)
    taken: list[Rectangle] = []
    for box in boxes:
        if box.label:
            plate = _plate(box, canvas.size, line, taken)
            taken.append(plate.place)
            _write(pen, plate, colours[box.label])
    return canvas


def _outline(pen: ImageDraw.ImageDraw, place: Rectangle, colour: Colour, line: int) -> None:
    """A coloured frame between two thin light ones, so that it shows on its own colour too."""
    x1, y1, x2, y2 = place
    pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=_WHITE)
    if min(x2 - x1, y2 - y1) > 4 * line:
        pen.rectangle((x1 + line, y1 + line, x2 - line, y2 - line), outline=_WHITE)
    pen.rectangle(place, outline=colour, width=line)


def _plate(box: Box, size: tuple[int, int], line: int, taken: list[Rectangle]) -> _Plate:
    """Fit the label and find the place that hides the least of other labels."""
    width, height = size
    letters = min(max(11, round(min(size) / 24)), 64)
    margin = max(2, letters // 5)
    text, font = _fitted(box.label, letters, width - 2 * margin)
    ascent, descent = font.getmetrics()
    wide = min(int(font.getlength(text)) + 1 + 2 * margin, width)
    tall = min(ascent + descent + margin, height)
    x1, y1, x2, y2 = _inside(box, size)
    candidates = [
        (left, top)
        for top in (y1 - tall, y1 + line, y2 + 1, y2 - line - tall)
        for left in (x1, x2 + 1 - wide)
    ]
    fitting = [(x, y) for x, y in candidates if 0 <= y <= height - tall] or [(x1, 0)]
    places = []
    for wished, top in fitting:
        left = min(max(wished, 0), width - wide)
        places.append((left, top, left + wide - 1, top + tall - 1))
    place = min(places, key=lambda p: sum(_overlap(p, other) for other in taken))
    return _Plate(text, font, place)


def _fitted(label: str, letters: int, room: int) -> tuple[str, Font]:
    """The label in its font, shortened to the room that there is."""
    text, font = legible(label, letters)
    # No letter is narrower than an eighth of its height, so longer texts cannot fit.
    text = shortened = text[: 8 * room // letters + 8]
    while shortened and font.getlength(text) > room:
        shortened = shortened[:-1]
        text = shortened.rstrip() + "..."
    return text, font


def _write(pen: ImageDraw.ImageDraw, plate: _Plate, colour: Colour) -> None:
    """The plate in the box's colour with the text in black or white, whichever stands out."""
    x1, y1, x2, y2 = plate.place
    pen.rectangle(plate.place, fill=colour)
    luminance = (0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]) / 255
    ink = _BLACK if luminance > 0.55 else _WHITE
    pen.text(((x1 + x2 + 1) / 2, (y1 + y2 + 1) / 2), plate.text, ink, plate.font, anchor="mm")


def _inside(box: Box, size: tuple[int, int]) -> Rectangle:
    """The box in whole pixels of the picture."""
    limits = (size[0] - 1, size[1] - 1) * 2
    x1, y1, x2, y2 = (
        min(max(value, 0), limit) for value, limit in zip(box.whole, limits, strict=True)
    )
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def _overlap(a: Rectangle, b: Rectangle) -> int:
    """Pixels that two rectangles share."""
    wide = min(a[2], b[2]) - max(a[0], b[0]) + 1
    tall = min(a[3], b[3]) - max(a[1], b[1]) + 1
    return max(wide, 0) * max(tall, 0)


def _colour(index: int) -> Colour:
    """The colour of the label with this index; beyond the palette, hues far from each other."""
    if index < len(_COLOURS):
        return _COLOURS[index]
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN_RATIO % 1, 0.75, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)
