"""A rendered picture: which things are on it, where, and the picture itself."""

import functools
import math
import random
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from vl2.processing.tiling import Tiling, candidate_resolutions
from vl2.synth import shapes, strings
from vl2.synth.backgrounds import RGB, Background, background, stands_out
from vl2.synth.fonts import FONTS, GlyphSet, glyph_set, rounded_size
from vl2.synth.names import COLOURS, SHAPES

TILING = Tiling(candidate_resolutions(96, 4), tile_size=96, patch_size=12, downsample=2)
"""The tiling that pictures are made for: things stay legible on its canvas."""

Kind = Literal["shapes", "text", "both"]
KINDS: dict[str, float] = {"shapes": 0.45, "text": 0.30, "both": 0.25}
"""What is on a picture, and on which share of them."""

Character = tuple[str, float, float, float, float]

_ASPECTS = ((1, 1), (4, 3), (3, 2), (16, 9), (2, 1), (3, 4), (2, 3), (9, 16))
_ASPECT_WEIGHTS = (0.40, 0.16, 0.10, 0.07, 0.04, 0.12, 0.08, 0.03)
_SHORTEST_SIDE, _LONGEST_SIDE = 96, 384
_SMALLEST_SHAPE = 18
"""Pixels of the canvas."""
_SMALLEST_LETTER = 7.2
"""Mean advance of a letter in pixels of the canvas."""


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
        """What it is called where its colour tells it apart: "red star"."""
        return (
            f"{self.colour} {self.name}" if self.kind == "shape" else f"{self.noun} {self.quoted}"
        )

    @property
    def noun(self) -> str:
        """What it is in general: "shape", "word" or "number"."""
        if self.kind == "shape":
            return "shape"
        return "number" if strings.is_number(self.name) else "word"

    @property
    def quoted(self) -> str:
        """The name between quotation marks."""
        return f'"{self.name}"'

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of its box."""
        return (self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture, what is on it, and the cells of its letters (character, x1, y1, x2, y2)."""

    image: Image.Image
    things: tuple[Thing, ...]
    characters: tuple[Character, ...]


@functools.lru_cache(maxsize=4096)
def canvas_scale(width: int, height: int) -> float:
    """Pixels of the canvas to one pixel of a picture of this size."""
    canvas_width, canvas_height = TILING.canvas(TILING.grid(width, height))
    return min(canvas_width / width, canvas_height / height)


def _size(rng: random.Random) -> tuple[int, int]:
    across, down = rng.choices(_ASPECTS, _ASPECT_WEIGHTS)[0]
    longest = _SHORTEST_SIDE * (_LONGEST_SIDE / _SHORTEST_SIDE) ** rng.random()
    longest = max(longest, _SHORTEST_SIDE * max(across, down) / min(across, down) * 0.9)
    unit = longest / max(across, down)
    return round(unit * across), round(unit * down)


def _jittered(rng: random.Random, name: str) -> RGB:
    r, g, b = COLOURS[name]
    shift = rng.randint(-10, 10)
    return (
        min(255, max(0, r + shift + rng.randint(-8, 8))),
        min(255, max(0, g + shift + rng.randint(-8, 8))),
        min(255, max(0, b + shift + rng.randint(-8, 8))),
    )


class _Layout:
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
    """Puts things on one background, each where there is room for it."""

    def __init__(self, rng: random.Random, size: tuple[int, int] | None = None) -> None:
        self.rng = rng
        self.width, self.height = size or _size(rng)
        self.scale = canvas_scale(self.width, self.height)
        self.behind: Background = background(rng, self.width, self.height)
        self.layout = _Layout(rng, self.width, self.height)
        self.things: list[Thing] = []
        self.characters: list[Character] = []

    def colours(self, *, text: bool) -> list[str]:
        """The colours that stand out here; grey strokes are too easily taken for thin black."""
        return [
            name
            for name, value in COLOURS.items()
            if stands_out(value, self.behind.colours, text=text) and not (text and name == "grey")
        ]

    def shape(self, shape: str, colour: str, size: float) -> bool:
        """Draws a shape `size` pixels long, or smaller; False if there is no room for it."""
        rng = self.rng
        turn = shapes.most_turn(shape)
        degrees = rng.uniform(-turn, turn) if turn and rng.random() < 0.6 else 0.0
        smallest = _SMALLEST_SHAPE / self.scale
        while True:
            corners, width, height = shapes.turned(shape, size, degrees)
            where = self.layout.place(width, height)
            if where is not None or size <= smallest:
                break
            size = max(smallest, 0.75 * size)
        if where is None:
            return False
        stroke = None
        if shapes.may_be_hollow(shape) and rng.random() < 0.25:
            stroke = max(rng.uniform(0.08, 0.13) * size, 2.4 / self.scale)
        mask = shapes.mask(corners, width, height, stroke)
        self.behind.image.paste(_jittered(rng, colour), where, mask)
        x, y = where
        self.things.append(Thing("shape", colour, shape, x, y, x + width, y + height))
        return True

    def text(self, string: str, colour: str, font: str, size: float) -> bool:
        """Prints a string; False if there is no room for it."""
        letters = _fitting(string, font, size, self.scale, self.width - 4)
        if letters is None:
            return False
        glyphs = [letters.glyphs[character] for character in string]
        left = min(0, glyphs[0].left)
        right = max(0, glyphs[-1].left + glyphs[-1].mask.width - glyphs[-1].advance)
        width = sum(glyph.advance for glyph in glyphs) - left + right
        top = min(glyph.top for glyph in glyphs)
        bottom = max(glyph.top + glyph.mask.height for glyph in glyphs)
        where = self.layout.place(width, bottom - top, 24)
        if where is None:
            return False
        pen, base = where[0] - left, where[1] - top
        value = _jittered(self.rng, colour)
        paste = self.behind.image.paste
        high, low = float(where[1]), float(where[1] + bottom - top)
        for character, glyph in zip(string, glyphs, strict=True):
            paste(value, (pen + glyph.left, base + glyph.top), glyph.mask)
            self.characters.append((character, pen, high, pen + glyph.advance, low))
            pen += glyph.advance
        self.things.append(Thing("text", colour, string, where[0], high, where[0] + width, low))
        return True

    def scene(self) -> Scene:
        """What was drawn."""
        return Scene(self.behind.image, tuple(self.things), tuple(self.characters))


def _fitting(
    string: str, font: str, size: float, scale: float, most_width: float
) -> GlyphSet | None:
    """The letters of a font at the wished size or the nearest that is legible and fits."""
    size = rounded_size(size)
    while True:
        letters = glyph_set(font, size)
        legible = letters.mean_advance * scale >= _SMALLEST_LETTER
        if sum(letters.glyphs[c].advance for c in string) <= most_width:
            if legible:
                return letters
            size = rounded_size(size + max(1, 0.1 * size))
        elif not legible:
            return None
        else:
            smaller = rounded_size(size - max(1, 0.08 * size))
            if glyph_set(font, smaller).mean_advance * scale < _SMALLEST_LETTER:
                return None
            size = smaller


def _add_shapes(painter: Painter, count: int) -> None:
    rng = painter.rng
    colours = painter.colours(text=False)
    short = min(painter.width, painter.height)
    smallest = max(0.14 * short, _SMALLEST_SHAPE / painter.scale)
    largest = max(smallest * 1.1, min(0.45, 0.85 / math.sqrt(count)) * short)
    repeat = rng.random()
    kinds = rng.sample(SHAPES, 2) if repeat < 0.25 else SHAPES
    hues = rng.sample(colours, 2) if 0.15 < repeat < 0.4 else colours
    for _ in range(count):
        size = smallest * (largest / smallest) ** rng.random()
        painter.shape(rng.choice(kinds), rng.choice(hues), size)


def _add_texts(painter: Painter, count: int, held_out: bool) -> None:
    rng = painter.rng
    colours = painter.colours(text=True)
    rng.shuffle(colours)
    canvas_height = painter.height * painter.scale
    for i in range(count):
        draw = strings.number if rng.random() < 0.33 else strings.word
        string = draw(rng, held_out=held_out)
        tallest = (0.33, 0.26, 0.2)[count - 1]
        size = rng.uniform(0.10, tallest) * canvas_height * 1.35 / painter.scale
        for _ in range(4):
            if painter.text(string, colours[i % len(colours)], rng.choice(FONTS), size):
                break
            string = draw(rng, held_out=held_out)


def scene(rng: random.Random, kinds: dict[str, float], *, held_out: bool) -> Scene:
    """A random picture.

    Args:
        rng: The source of chance.
        kinds: The weight of each kind of picture.
        held_out: Whether printed strings are those that training never sees.
    """
    while True:
        kind = rng.choices(tuple(kinds), tuple(kinds.values()))[0]
        painter = Painter(rng)
        if kind != "shapes":
            most = 3 if kind == "text" else 2
            _add_texts(painter, rng.randint(1, most), held_out)
        if kind != "text":
            _add_shapes(painter, rng.randint(1, 6 if kind == "shapes" else 4))
        if painter.things:
            return painter.scene()
