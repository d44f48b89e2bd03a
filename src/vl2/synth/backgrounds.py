"""What lies behind the things: plain, graded, grainy or lined, and what stands out from it."""

import functools
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw

RGB = tuple[int, int, int]

_GRAIN_SIDE = 512
_GRAIN_MIDDLE = 16


@dataclass(frozen=True, slots=True)
class Background:
    """An empty picture and the extreme colours in it."""

    image: Image.Image
    colours: tuple[RGB, ...]


def luminance(colour: RGB) -> float:
    """The brightness of a colour in 0..255 (the weights of Rec. 601)."""
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def stands_out(colour: RGB, behind: tuple[RGB, ...], *, text: bool) -> bool:
    """Whether a thing of this colour is plain to see before these colours.

    Thin strokes need a difference in brightness; an area may differ in hue alone.
    """
    mine = luminance(colour)
    for other in behind:
        lightness = abs(mine - luminance(other))
        distance = sum(abs(a - b) for a, b in zip(colour, other, strict=True))
        if text:
            if lightness < 80:
                return False
        elif lightness < 75 and (distance < 200 or lightness < 30):
            return False
    return True


@functools.cache
def _grain() -> Image.Image:
    noise = np.random.default_rng(0).normal(_GRAIN_MIDDLE, 6, (_GRAIN_SIDE, _GRAIN_SIDE, 3))
    return Image.fromarray(noise.clip(0, 2 * _GRAIN_MIDDLE).astype(np.uint8))


def _light(rng: random.Random) -> RGB:
    if rng.random() < 0.35:
        level = rng.randint(215, 252)
        return (level, level, level)
    low = rng.randint(190, 235)
    return (rng.randint(low, 255), rng.randint(low, 255), rng.randint(low, 255))


def _dark(rng: random.Random) -> RGB:
    if rng.random() < 0.35:
        level = rng.randint(0, 45)
        return (level, level, level)
    return (rng.randint(0, 50), rng.randint(0, 50), rng.randint(0, 70))


def plain(rng: random.Random) -> RGB:
    """A light colour, or for one in three a dark one: a ground for things to stand out from."""
    return _light(rng) if rng.random() < 0.68 else _dark(rng)


def _graded(rng: random.Random, size: tuple[int, int], colours: tuple[RGB, RGB]) -> Image.Image:
    first, last = colours
    corners = rng.choice(
        ((first, last, first, last), (first, first, last, last), (first, first, first, last))
    )
    small = Image.new("RGB", (2, 2))
    for i, corner in enumerate(corners):
        small.putpixel((i % 2, i // 2), corner)
    return small.resize(size, Image.Resampling.BILINEAR, box=(0.5, 0.5, 1.5, 1.5))


def _grainy(rng: random.Random, size: tuple[int, int], colour: RGB) -> Image.Image:
    x, y = rng.randint(0, _GRAIN_SIDE - size[0]), rng.randint(0, _GRAIN_SIDE - size[1])
    grain = _grain().crop((x, y, x + size[0], y + size[1]))
    return ImageChops.add(Image.new("RGB", size, colour), grain, 1, -_GRAIN_MIDDLE)


def _lined(rng: random.Random, size: tuple[int, int], colours: tuple[RGB, RGB]) -> Image.Image:
    image = Image.new("RGB", size, colours[0])
    draw = ImageDraw.Draw(image)
    step, width = rng.randint(10, 32), rng.randint(1, 5)
    style = rng.random()
    if style < 0.7:
        for y in range(step // 2, size[1], step):
            draw.line((0, y, size[0], y), fill=colours[1], width=width)
    if style > 0.35:
        for x in range(step // 2, size[0], step):
            draw.line((x, 0, x, size[1]), fill=colours[1], width=width)
    return image


def _near(rng: random.Random, colour: RGB) -> RGB:
    return tuple(min(255, max(0, c + rng.randint(-14, 14))) for c in colour)  # type: ignore[return-value]


def background(rng: random.Random, width: int, height: int) -> Background:
    """An empty picture of some kind: white for four in ten."""
    size = (width, height)
    kind = rng.random()
    if kind < 0.4:
        return Background(Image.new("RGB", size, (255, 255, 255)), ((255, 255, 255),))
    first = plain(rng)
    if kind < 0.7:
        return Background(Image.new("RGB", size, first), (first,))
    if kind < 0.82:
        last = _light(rng) if luminance(first) > 128 else _dark(rng)
        return Background(_graded(rng, size, (first, last)), (first, last))
    if kind < 0.92:
        return Background(_grainy(rng, size, first), (first,))
    last = _near(rng, first)
    return Background(_lined(rng, size, (first, last)), (first, last))
