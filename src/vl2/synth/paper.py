"""Setting print on paper: one font, one ink, words on base lines."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace

from PIL import Image, ImageDraw

from vl2.synth.backgrounds import RGB, Background, background, luminance, plain
from vl2.synth.fonts import (
    HELD_OUT_FONTS,
    TRAINED_FONTS,
    GlyphSet,
    bold,
    glyph_set,
    rounded_size,
)
from vl2.synth.painter import SMALLEST_LETTER, Painter, apt_colours, jittered, line_of
from vl2.synth.things import Scene, canvas_scale

LONGEST_SIDE = 400
"""No document or chart is longer than this, in pixels."""

_SMALLEST_FONT, _LARGEST_FONT = 12, 24
_SPACE = 0.5
_WHITE: RGB = (255, 255, 255)
_SHADOW: RGB = (104, 104, 104)
_BARE = 0.75


@dataclass(frozen=True, slots=True)
class Style:
    """The looks of one document: its font at one size and in bold, its paper and its ink."""

    font: str
    size: int
    paper: RGB
    ink: str

    @property
    def letters(self) -> GlyphSet:
        """The letters of the text."""
        return glyph_set(self.font, self.size)

    @property
    def heavy(self) -> GlyphSet:
        """The letters of what is printed in bold, where the font has a bold sister."""
        return glyph_set(bold(self.font), self.size)

    def large(self, factor: float) -> GlyphSet:
        """Bold letters of another size."""
        return glyph_set(bold(self.font), rounded_size(factor * self.size))


def style(rng: random.Random, *, held_out: bool) -> Style:
    """A random style; the held-out split has fonts of its own."""
    font = rng.choice(HELD_OUT_FONTS if held_out else TRAINED_FONTS)
    chance = rng.random()
    paper = _WHITE if chance < 0.5 else plain(rng)
    inks = apt_colours((paper,), text=True)
    usual = "black" if luminance(paper) > 128 else "white"
    ink = usual if rng.random() < 0.6 and usual in inks else rng.choice(inks)
    return Style(font, rng.randint(_SMALLEST_FONT, _LARGEST_FONT), paper, ink)


def width_of(string: str, letters: GlyphSet) -> int:
    """The width of words with single spaces between them, in pixels."""
    words = string.split(" ")
    advances = sum(letters.glyphs[character].advance for word in words for character in word)
    return advances + space(letters) * (len(words) - 1)


def widest(strings: Iterable[str], letters: GlyphSet) -> int:
    """The width of the widest of some strings."""
    return max(width_of(string, letters) for string in strings)


def space(letters: GlyphSet) -> int:
    """The width of the space between two words."""
    return max(2, round(_SPACE * letters.mean_advance))


def is_legible(width: float, height: float, letters: GlyphSet) -> bool:
    """Whether a picture of this size shows the letters large enough, and is none too large."""
    if max(width, height) > LONGEST_SIDE:
        return False
    scale = canvas_scale(round(width), round(height))
    return letters.mean_advance * scale >= SMALLEST_LETTER


def shade(colour: RGB, by: float) -> RGB:
    """A colour nearer to black (or to white, if it is dark), by a share of the way."""
    end = 0 if luminance(colour) > 128 else 255
    r, g, b = (round(c + by * (end - c)) for c in colour)
    return r, g, b


def mixed(paper: RGB, ink: RGB, share: float) -> RGB:
    """A colour between that of the paper and, by a share of the way, that of the ink."""
    r, g, b = (round(p + share * (i - p)) for p, i in zip(paper, ink, strict=True))
    return r, g, b


class Press:
    """A sheet of paper that is printed on in one ink.

    Args:
        rng: The source of chance.
        width: Of the sheet, in pixels.
        height: Of the sheet.
        style: The looks.
        ground: The sheet itself, if something is drawn on it already.
    """

    def __init__(
        self,
        rng: random.Random,
        width: float,
        height: float,
        style: Style,
        ground: Image.Image | None = None,
    ) -> None:
        self.style = style
        sheet = ground or Image.new("RGB", (round(width), round(height)), style.paper)
        self.painter = Painter(rng, Background(sheet, (style.paper,)))
        self.pen = ImageDraw.Draw(sheet)
        self.ink = jittered(rng, style.ink)

    def write(
        self,
        string: str,
        x: float,
        base: float,
        *,
        letters: GlyphSet | None = None,
        align: float = 0.0,
        ink: tuple[str, RGB] | None = None,
    ) -> None:
        """Prints words on a base line.

        Args:
            string: Words with single spaces between them.
            x: Where they begin, or, by `align`, have their middle or their end.
            base: The base line.
            letters: If they are not the text's own.
            align: The part of their width that lies before `x`: 0, 0.5 or 1.
            ink: The name of the colour and its value, if it is not that of the text.
        """
        letters = letters or self.style.letters
        colour, value = ink or (self.style.ink, self.ink)
        pen = round(x - align * width_of(string, letters))
        for word in string.split(" "):
            line = line_of(word, letters)
            self.painter.print_in(line, pen + line.left, round(base) + line.top, colour, value)
            pen += sum(glyph.advance for glyph in line.glyphs) + space(letters)

    def rule(self, x1: float, x2: float, y: float, kind: str) -> None:
        """Draws a level line: "solid", "dashed", "double" or, for none at all, "none"."""
        width = max(1, round(self.style.size / 14))
        if kind == "dashed":
            step = round(0.45 * self.style.size)
            for x in range(round(x1), round(x2) - step // 2, step):
                self.pen.line((x, y, x + step // 2, y), fill=self.ink, width=width)
        elif kind != "none":
            for lower in (0, 2 * width + 1) if kind == "double" else (0,):
                self.pen.line((x1, y + lower, x2, y + lower), fill=self.ink, width=width)

    def fill(self, x1: float, y1: float, x2: float, y2: float, colour: RGB) -> None:
        """Fills a rectangle."""
        self.pen.rectangle((round(x1), round(y1), round(x2), round(y2)), fill=colour)

    def frame(self, x1: float, y1: float, x2: float, y2: float) -> None:
        """Draws a rectangle in ink."""
        self.pen.rectangle((round(x1), round(y1), round(x2), round(y2)), outline=self.ink)

    def scene(self) -> Scene:
        """What was printed."""
        return self.painter.scene()

    def document(self) -> Scene:
        """What was printed, as the sheet lies before a camera or a scanner."""
        return laid(self.painter.rng, self.painter.scene(), self.style.letters)


def laid(rng: random.Random, sheet: Scene, letters: GlyphSet) -> Scene:
    """A sheet as it is, or, for one in four, lying on a ground where its letters stay legible."""
    if rng.random() < _BARE:
        return sheet
    width, height = sheet.image.size
    left, right, top, bottom = (
        round(rng.uniform(0.02, 0.1) * min(width, height)) for _ in range(4)
    )
    size = (width + left + right, height + top + bottom)
    if not is_legible(*size, letters):
        return sheet
    image = background(rng, *size).image
    shadow = max(1, round(0.012 * min(size)))
    corner = (left + width + shadow, top + height + shadow)
    ImageDraw.Draw(image).rectangle(((left + shadow, top + shadow), corner), fill=_SHADOW)
    image.paste(sheet.image, (left, top))
    things = tuple(
        replace(t, x1=t.x1 + left, y1=t.y1 + top, x2=t.x2 + left, y2=t.y2 + top)
        for t in sheet.things
    )
    characters = tuple(
        (c, x1 + left, y1 + top, x2 + left, y2 + top) for c, x1, y1, x2, y2 in sheet.characters
    )
    return Scene(image, things, characters)
