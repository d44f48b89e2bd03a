"""A random picture: its size, its background and what is on it."""

import math
import random
from typing import Literal

from vl2.synth import strings
from vl2.synth.backgrounds import background, plain
from vl2.synth.fonts import FONTS, TRAINED_FONTS
from vl2.synth.names import SHAPES
from vl2.synth.painter import SMALLEST_SHAPE, Line, Painter, apt_colours, fitted_line
from vl2.synth.things import Scene

Kind = Literal["shapes", "text", "both", "one", "two", "sign", "page"]
"""What is on a picture. Some kinds are for the start of training. From one single shape, and from a
sign with one string nearly as wide as the picture, a language model learns to point and to read
where there is nothing to choose; from two shapes it learns to choose. From a page full of print,
too much to ask about, an encoder learns letters fastest."""

_SHAPE_COUNTS = {"shapes": (1, 6), "both": (1, 4), "one": (1, 1), "two": (2, 2)}

_ASPECTS = ((1, 1), (4, 3), (3, 2), (16, 9), (2, 1), (3, 4), (2, 3), (9, 16))
_ASPECT_WEIGHTS = (0.40, 0.16, 0.10, 0.07, 0.04, 0.12, 0.08, 0.03)
_SHORTEST_SIDE, _LONGEST_SIDE = 96, 384
_TALLEST_TEXT = (0.33, 0.26, 0.20)
"""The largest capital letters on a picture with one, two and three strings, in heights of it."""

_EM_TO_CAPITAL = 1.35
_NUMBERS, _PLATES, _STACKS = 0.33, 0.15, 0.25


def picture_size(rng: random.Random) -> tuple[int, int]:
    """The width and the height of a picture in pixels."""
    across, down = rng.choices(_ASPECTS, _ASPECT_WEIGHTS)[0]
    longest = _SHORTEST_SIDE * (_LONGEST_SIDE / _SHORTEST_SIDE) ** rng.random()
    longest = max(longest, _SHORTEST_SIDE * max(across, down) / min(across, down) * 0.9)
    unit = longest / max(across, down)
    return round(unit * across), round(unit * down)


def _sign_size(rng: random.Random) -> tuple[int, int]:
    width = rng.randint(_SHORTEST_SIDE, 2 * _SHORTEST_SIDE)
    return width, round(width * rng.uniform(0.5, 1.0))


def add_shapes(painter: Painter, count: int) -> None:
    """Puts up to so many shapes on a picture; some pictures repeat two shapes or two colours."""
    rng = painter.rng
    colours = apt_colours(painter.behind.colours, text=False)
    short = min(painter.width, painter.height)
    smallest = max(0.14 * short, SMALLEST_SHAPE / painter.scale)
    largest = max(smallest * 1.1, min(0.45, 0.85 / math.sqrt(count)) * short)
    # Some pictures repeat two shapes or two colours, so that there is something to count.
    repeat = rng.random()
    kinds = rng.sample(SHAPES, 2) if repeat < 0.25 else SHAPES
    hues = rng.sample(colours, 2) if 0.15 < repeat < 0.4 else colours
    for _ in range(count):
        size = smallest * (largest / smallest) ** rng.random()
        painter.shape(rng.choice(kinds), rng.choice(hues), size)


def _line(painter: Painter, font: str, size: float, width: float, held_out: bool) -> Line | None:
    """A new string that fits; long ones may not, so a few are tried."""
    draw = strings.number if painter.rng.random() < _NUMBERS else strings.word
    for _ in range(4):
        string = draw(painter.rng, held_out=held_out)
        line = fitted_line(string, font, size, painter.scale, width)
        if line is not None:
            return line
    return None


def _text_size(painter: Painter, count: int) -> float:
    share = painter.rng.uniform(0.10, _TALLEST_TEXT[count - 1])
    return share * painter.height * _EM_TO_CAPITAL


def _add_texts(painter: Painter, count: int, held_out: bool) -> None:
    rng = painter.rng
    colours = apt_colours(painter.behind.colours, text=True)
    rng.shuffle(colours)
    if count > 1 and rng.random() < _STACKS:
        size = 0.8 * _text_size(painter, count)
        _add_stack(painter, count, colours[0], size, held_out)
        return
    for i in range(count):
        colour, plate, width = colours[i % len(colours)], None, painter.width - 4.0
        if rng.random() < _PLATES:
            plate = plain(rng)
            colour, width = rng.choice(apt_colours((plate,), text=True)), 0.85 * width
        line = _line(painter, rng.choice(FONTS), _text_size(painter, count), width, held_out)
        if line is not None:
            painter.lines([line], colour, plate=plate)


def _add_sign(painter: Painter, held_out: bool) -> None:
    """One string, nearly as wide as the picture."""
    rng, width = painter.rng, painter.width - 4.0
    capitals = min(0.6 * painter.height, 0.35 * width) * rng.uniform(0.7, 1.0)
    line = _line(painter, rng.choice(FONTS), capitals * _EM_TO_CAPITAL, width, held_out)
    if line is not None:
        painter.lines([line], rng.choice(apt_colours(painter.behind.colours, text=True)))


def _add_stack(painter: Painter, count: int, colour: str, size: float, held_out: bool) -> None:
    """Lines in one font and colour below each other, as on a receipt."""
    font = painter.rng.choice(FONTS)
    lines = [_line(painter, font, size, painter.width - 4, held_out) for _ in range(count)]
    fitting = [line for line in lines if line is not None]
    spacing, plate = painter.rng.uniform(0.35, 1.0), None
    if painter.rng.random() < _PLATES:
        plate = plain(painter.rng)
        colour = painter.rng.choice(apt_colours((plate,), text=True))
    while fitting and not painter.lines(fitting, colour, spacing=spacing, plate=plate):
        fitting.pop()


def _add_page(painter: Painter, held_out: bool) -> None:
    """Rows of strings from edge to edge, each row in its own font, size and colour."""
    rng, width, height = painter.rng, painter.width, painter.height
    colours = apt_colours(painter.behind.colours, text=True)
    fonts = FONTS if held_out else TRAINED_FONTS
    y = rng.uniform(1, 0.05 * height)
    while y < height:
        font, colour = rng.choice(fonts), rng.choice(colours)
        size = rng.uniform(0.08, 0.2) * height * _EM_TO_CAPITAL
        x, tallest = rng.uniform(1, 0.1 * width), 0
        while (line := _line(painter, font, size, width - x - 2, held_out)) is not None:
            if y + line.height > height - 1:
                return
            painter.print_at(line, round(x), round(y), colour)
            x += line.width + rng.uniform(0.4, 1.2) * line.height
            tallest = max(tallest, line.height)
        y += tallest + rng.uniform(0.15, 0.8) * size


def scene(rng: random.Random, kind: Kind, *, held_out: bool) -> Scene | None:
    """A random picture of a kind, or None if nothing found room on it.

    Args:
        rng: The source of chance.
        kind: What is on the picture.
        held_out: Whether printed strings are those that training never sees.
    """
    size = _sign_size(rng) if kind == "sign" else picture_size(rng)
    painter = Painter(rng, background(rng, *size))
    if kind == "page":
        _add_page(painter, held_out)
        return painter.scene()
    if kind == "sign":
        _add_sign(painter, held_out)
    if kind in ("text", "both"):
        _add_texts(painter, rng.randint(1, 3 if kind == "text" else 2), held_out)
    if kind in _SHAPE_COUNTS:
        add_shapes(painter, rng.randint(*_SHAPE_COUNTS[kind]))
    return painter.scene() if painter.things else None
