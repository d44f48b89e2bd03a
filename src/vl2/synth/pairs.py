"""In-context grounding: a thing marked in the first picture, its kind to be found in the second."""

import functools
import random

from PIL import ImageDraw

from vl2.synth import templates
from vl2.synth.answers import reference
from vl2.synth.backgrounds import background
from vl2.synth.drawn import Drawn, Question
from vl2.synth.names import COLOURS, SHAPES
from vl2.synth.painter import SMALLEST_SHAPE, Painter, apt_colours
from vl2.synth.scene import picture_size
from vl2.synth.things import Scene, Thing
from vl2.synth.view import has_clear_order, in_order, view_of

_MARK = "red"
_MARGIN = 4.5
"""Between a marked thing and its rectangle, in pixels of the canvas."""


def _painter(rng: random.Random, *, marked: bool) -> Painter:
    """A picture in the making; one that is marked has a ground that the mark stands out from."""
    while True:
        behind = background(rng, *picture_size(rng))
        if not marked or _MARK in apt_colours(behind.colours, text=False):
            return Painter(rng, behind)


def _put(painter: Painter, kinds: list[str], *, without: str = "") -> None:
    """Puts one shape of each kind on a picture, where there is room for it."""
    rng, short = painter.rng, min(painter.width, painter.height)
    hues = [hue for hue in apt_colours(painter.behind.colours, text=False) if hue != without]
    smallest = max(0.16 * short, SMALLEST_SHAPE / painter.scale)
    for kind in kinds:
        painter.shape(kind, rng.choice(hues), rng.uniform(smallest, 1.8 * smallest))


def _mark(painter: Painter, thing: Thing) -> None:
    """Draws a red rectangle around a thing."""
    margin = _MARGIN / painter.scale
    width = max(1, round(2 / painter.scale))
    box = (thing.x1 - margin, thing.y1 - margin, thing.x2 + margin, thing.y2 + margin)
    draw = ImageDraw.Draw(painter.behind.image)
    draw.rectangle([round(edge) for edge in box], outline=COLOURS[_MARK], width=width)


def draw(rng: random.Random, *, held_out: bool) -> Drawn | None:  # noqa: ARG001 - nothing printed
    """Two pictures; None if what was marked found no room in the second one."""
    kinds = rng.sample(SHAPES, rng.randint(2, 5))
    first = _painter(rng, marked=True)
    first.layout.gap += 2 * _MARGIN / first.scale
    _put(first, kinds[: rng.randint(1, 3)], without=_MARK)
    if not first.things:
        return None
    wanted = rng.choice(first.things)
    _mark(first, wanted)
    second = _painter(rng, marked=False)
    others = [kind for kind in SHAPES if kind != wanted.name]
    again = [wanted.name] * (2 if rng.random() < 0.2 else 1)
    shown = again + rng.sample(others, rng.randint(1, 3))
    rng.shuffle(shown)
    _put(second, shown)
    scene = second.scene()
    found = in_order([thing for thing in scene.things if thing.name == wanted.name])
    if not found or not has_clear_order(view_of(scene), found):
        return None
    questions = {"in_context": functools.partial(_ask, scene, found)}
    return Drawn((first.scene(), scene), questions)


def _ask(scene: Scene, found: list[Thing], rng: random.Random) -> Question:
    name = found[0].name
    return rng.choice(templates.IN_CONTEXT), reference(name, found, *scene.image.size)
