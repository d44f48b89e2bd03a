"""Puts shapes and strings on a background, each where there is room for it."""

import random
from dataclasses import dataclass

from PIL import ImageDraw

from vl2.synth import shapes
from vl2.synth.backgrounds import RGB, Background, stands_out
from vl2.synth.fonts import Glyph, GlyphSet, glyph_set, rounded_size
from vl2.synth.names import CHARACTER_CLASS, COLOURS
from vl2.synth.things import Character, Scene, Thing, canvas_scale

SMALLEST_SHAPE = 18
"""The least length of a shape in pixels of the canvas."""

SMALLEST_LETTER = 7.8
"""The least mean advance of letters in pixels of the canvas."""

_HOLLOW = 0.25
_TURNED = 0.6


@dataclass(frozen=True, slots=True)
class Line:
    """A string set in one font: its letters, and the box of its ink from the pen's start."""

    string: str
    glyphs: tuple[Glyph, ...]
    left: int
    top: int
    width: int
    height: int


def line_of(string: str, letters: GlyphSet) -> Line:
    """Sets a string of at least one character in a font."""
    glyphs = tuple(letters.glyphs[character] for character in string)
    left, last = glyphs[0].left, glyphs[-1]
    top = min(glyph.top for glyph in glyphs)
    bottom = max(glyph.top + glyph.mask.height for glyph in glyphs)
    end = sum(glyph.advance for glyph in glyphs) - last.advance + last.left + last.mask.width
    return Line(string, glyphs, left, top, end - left, bottom - top)


def fitted_line(
    string: str, font: str, size: float, scale: float, most_width: float
) -> Line | None:
    """A string at the wished size, or the nearest that is legible and fits; None if none is.

    Args:
        string: What to print.
        font: One of `FONTS`.
        size: The wished size of the font in pixels of the picture.
        scale: Pixels of the canvas to one of the picture.
        most_width: How wide the line may be, in pixels of the picture.
    """
    size = rounded_size(size)
    while glyph_set(font, size).mean_advance * scale < SMALLEST_LETTER:
        size = rounded_size(size + max(1, 0.1 * size))
    while True:
        letters = glyph_set(font, size)
        if letters.mean_advance * scale < SMALLEST_LETTER:
            return None
        if sum(letters.glyphs[character].advance for character in string) <= most_width:
            return line_of(string, letters)
        smaller = rounded_size(size - max(1, 0.08 * size))
        if smaller == size:
            return None
        size = smaller


class Layout:
    """The boxes taken so far on one picture, and the search for free places."""

    def __init__(self, rng: random.Random, width: int, height: int) -> None:
        self.rng, self.width, self.height = rng, width, height
        self.gap = 0.025 * min(width, height) + 1
        self.taken: list[tuple[float, float, float, float]] = []

    def place(self, width: float, height: float, tries: int = 14) -> tuple[int, int] | None:
        """A free place for a box of this size, or None; the place is then taken."""
        across, down = self.width - width - 2, self.height - height - 2
        if across < 0 or down < 0:
            return None
        gap, chance = self.gap, self.rng.random
        for _ in range(tries):
            x, y = 1 + int(across * chance()), 1 + int(down * chance())
            x1, y1, x2, y2 = x - gap, y - gap, x + width + gap, y + height + gap
            for a1, b1, a2, b2 in self.taken:
                if a1 < x2 and x1 < a2 and b1 < y2 and y1 < b2:
                    break
            else:
                self.taken.append((x, y, x + width, y + height))
                return x, y
        return None


class Painter:
    """One picture in the making."""

    def __init__(self, rng: random.Random, behind: Background, *, tiled: bool = True) -> None:
        self.rng, self.behind = rng, behind
        self.width, self.height = behind.image.size
        self.scale = canvas_scale(self.width, self.height, tiled=tiled)
        self.layout = Layout(rng, self.width, self.height)
        self.things: list[Thing] = []
        self.characters: list[Character] = []

    def shape(self, shape: str, colour: str, size: float) -> bool:
        """Draws a shape `size` pixels long, or smaller; False if there is no room for it."""
        rng = self.rng
        turn = shapes.most_turn(shape)
        degrees = rng.uniform(-turn, turn) if turn and rng.random() < _TURNED else 0.0
        smallest = SMALLEST_SHAPE / self.scale
        while True:
            corners, width, height = shapes.turned(shape, size, degrees)
            where = self.layout.place(width, height)
            if where is not None or size <= smallest:
                break
            size = max(smallest, 0.75 * size)
        if where is None:
            return False
        stroke = None
        if shapes.may_be_hollow(shape) and rng.random() < _HOLLOW:
            stroke = max(rng.uniform(0.08, 0.13) * size, 2.4 / self.scale)
        mask = shapes.mask(shape, corners, stroke)
        self.behind.image.paste(jittered(rng, colour), where, mask)
        x, y = where
        self.things.append(Thing("shape", colour, shape, x, y, x + width, y + height))
        return True

    def shape_at(
        self, shape: str, colour: tuple[str, RGB], size: float, centre: tuple[float, float]
    ) -> None:
        """Draws a filled, upright shape around a point, which the caller knows to be free.

        Args:
            shape: Its name.
            colour: The name of its colour, and the shade.
            size: Its length in pixels.
            centre: The middle of its box.
        """
        corners, width, height = shapes.turned(shape, size, 0.0)
        left, top = round(centre[0] - width / 2), round(centre[1] - height / 2)
        mask = shapes.mask(shape, corners, None)
        self.behind.image.paste(colour[1], (left, top), mask)
        thing = Thing("shape", colour[0], shape, left, top, left + width, top + height)
        self.things.append(thing)

    def lines(
        self, lines: list[Line], colour: str, *, spacing: float = 0.0, plate: RGB | None = None
    ) -> bool:
        """Prints lines below each other, flush left; False if there is no room for them.

        Args:
            lines: What to print.
            colour: The name of its colour.
            spacing: The free height between two lines, in heights of a line.
            plate: The colour of a plate behind the lines, or None for no plate.
        """
        gap = round(spacing * max(line.height for line in lines))
        margin = round(0.4 * lines[0].height) if plate else 0
        width = max(line.width for line in lines) + 2 * margin
        height = sum(line.height + gap for line in lines) - gap + 2 * margin
        where = self.layout.place(width, height, 24)
        if where is None:
            return False
        x, y = where
        if plate:
            corner = (x + width - 1, y + height - 1)
            draw = ImageDraw.Draw(self.behind.image)
            draw.rounded_rectangle((where, corner), self.rng.choice((0, margin)), plate)
        value = jittered(self.rng, colour)
        y += margin
        for line in lines:
            self.print_in(line, x + margin, y, colour, value)
            y += line.height + gap
        return True

    def print_at(self, line: Line, x: int, y: int, colour: str) -> None:
        """Prints a line with the corner of its ink at a point that the caller knows to be free."""
        self.print_in(line, x, y, colour, jittered(self.rng, colour))

    def print_in(self, line: Line, x: int, y: int, colour: str, value: RGB) -> None:
        """Prints a line as `print_at` does, in a given shade of its colour."""
        pen, base = x - line.left, y - line.top
        paste, bottom = self.behind.image.paste, y + line.height
        for character, glyph in zip(line.string, line.glyphs, strict=True):
            paste(value, (pen + glyph.left, base + glyph.top), glyph.mask)
            if character in CHARACTER_CLASS:
                self.characters.append((character, pen, y, pen + glyph.advance, bottom))
            pen += glyph.advance
        self.things.append(Thing("text", colour, line.string, x, y, x + line.width, bottom))

    def scene(self) -> Scene:
        """What was drawn."""
        return Scene(self.behind.image, tuple(self.things), tuple(self.characters))


def apt_colours(behind: tuple[RGB, ...], *, text: bool) -> list[str]:
    """The names of the colours that stand out; grey strokes are too easily taken for thin black.

    White stands out seldom, so where it does it is named twice.
    """
    found = [
        name
        for name, value in COLOURS.items()
        if stands_out(value, behind, text=text) and not (text and name == "grey")
    ]
    return [*found, "white"] if "white" in found else found


def jittered(rng: random.Random, name: str) -> RGB:
    """Some shade of a named colour."""
    r, g, b = COLOURS[name]
    shift = rng.randint(-10, 10)
    return (
        min(255, max(0, r + shift + rng.randint(-8, 8))),
        min(255, max(0, g + shift + rng.randint(-8, 8))),
        min(255, max(0, b + shift + rng.randint(-8, 8))),
    )
