"""Three or four pictures, each shown in a single tile, with questions across them."""

import functools
import random
from collections.abc import Sequence

from vl2.synth import templates
from vl2.synth.backgrounds import background
from vl2.synth.captions import caption
from vl2.synth.drawn import Drawn, Question
from vl2.synth.names import COLOURS, SHAPES, with_article
from vl2.synth.painter import Painter
from vl2.synth.scene import add_shapes
from vl2.synth.things import Scene
from vl2.synth.view import view_of

FEWEST, MOST = 3, 4
_SHORTEST, _LONGEST = 96, 240
_ASPECTS = ((1, 1), (1, 1), (4, 3), (3, 4))


def untiled(rng: random.Random, size: tuple[int, int]) -> Painter:
    """A picture in the making that will be shown in a single tile."""
    return Painter(rng, background(rng, *size), tiled=False)


def small_size(rng: random.Random) -> tuple[int, int]:
    """A size for a picture that loses nothing but detail in a single tile."""
    across, down = rng.choice(_ASPECTS)
    unit = rng.randint(_SHORTEST, _LONGEST) / max(across, down)
    return round(unit * across), round(unit * down)


def draw(rng: random.Random, *, held_out: bool) -> Drawn | None:  # noqa: ARG001 - nothing printed
    """Some pictures of one or two shapes; None if one of them stayed empty."""
    scenes = []
    for _ in range(rng.randint(FEWEST, MOST)):
        painter = untiled(rng, small_size(rng))
        add_shapes(painter, rng.choice((1, 1, 2)))
        if not painter.things:
            return None
        scenes.append(painter.scene())
    questions = {
        "which_picture": functools.partial(_which, scenes),
        "count_pictures": functools.partial(_count, scenes),
        "in_picture": functools.partial(_describe, scenes),
    }
    return Drawn(tuple(scenes), questions)


def holders(scenes: Sequence[Scene], name: str) -> list[int]:
    """The pictures with a thing of this name or label: "star" or "red star"."""
    return [
        i
        for i, scene in enumerate(scenes)
        if any(name in (thing.name, thing.label) for thing in scene.things)
    ]


def _which(scenes: Sequence[Scene], rng: random.Random) -> Question | None:
    """Which picture shows something that no other shows."""
    thing = rng.choice(rng.choice(scenes).things)
    name = rng.choice((thing.name, thing.label))
    found = holders(scenes, name)
    if len(found) > 1:
        return None
    question = rng.choice(templates.WHICH_PICTURE).format(one=with_article(name))
    return question, templates.ORDINALS[found[0]]


def _count(scenes: Sequence[Scene], rng: random.Random) -> Question:
    """How many pictures show something."""
    if rng.random() < 0.25:
        name = rng.choice(
            (rng.choice(SHAPES), f"{rng.choice(tuple(COLOURS))} {rng.choice(SHAPES)}")
        )
    else:
        thing = rng.choice(rng.choice(scenes).things)
        name = rng.choice((thing.name, thing.name, thing.label))
    question = rng.choice(templates.HOW_MANY_PICTURES).format(one=with_article(name))
    return question, str(len(holders(scenes, name)))


def _describe(scenes: Sequence[Scene], rng: random.Random) -> Question | None:
    """What one of the pictures shows, from left to right."""
    place = rng.randrange(len(scenes))
    told = caption(view_of(scenes[place]), rng)
    if told is None:
        return None
    ordinal = templates.ORDINALS[place]
    return rng.choice(templates.IN_PICTURE).format(ordinal=ordinal), told[1]
