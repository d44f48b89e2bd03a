"""Questions without any picture, with exact answers."""

import functools
import random

from vl2.synth import strings, templates
from vl2.synth.drawn import Drawn, Question
from vl2.synth.names import COLOURS, SHAPES


def _sum(rng: random.Random, _: bool) -> Question:
    a, b = rng.randint(0, 20), rng.randint(0, 20)
    if rng.random() < 0.5:
        return rng.choice(templates.SUM).format(a=a, b=b), str(a + b)
    return rng.choice(templates.LESS).format(a=max(a, b), b=min(a, b)), str(abs(a - b))


def _larger(rng: random.Random, _: bool) -> Question:
    a, b = rng.sample(range(rng.choice((10, 100, 1000))), 2)
    return rng.choice(templates.LARGER).format(a=a, b=b), str(max(a, b))


def _repeat(rng: random.Random, held_out: bool) -> Question:
    word = strings.word(rng, held_out=held_out)
    return rng.choice(templates.REPEAT).format(word=word), word


def _letters(rng: random.Random, held_out: bool) -> Question:
    word = strings.word(rng, held_out=held_out)
    return rng.choice(templates.LETTERS).format(word=word), str(len(word))


def _recall(rng: random.Random, _: bool) -> Question:
    """What was told a moment ago."""
    count = rng.randint(2, 3)
    shapes, colours = rng.sample(SHAPES, count), rng.sample(tuple(COLOURS), count)
    told = " ".join(
        templates.TOLD.format(shape=shape, colour=colour)
        for shape, colour in zip(shapes, colours, strict=True)
    )
    place = rng.randrange(count)
    if rng.random() < 0.5:
        asked = rng.choice(templates.COLOUR).format(it=f"the {shapes[place]}")
        return f"{told} {asked}", colours[place]
    asked = rng.choice(templates.SHAPE[:2]).format(colour=colours[place])
    return f"{told} {asked}", shapes[place]


_FORMS = (_sum, _larger, _repeat, _letters, _recall)


def draw(rng: random.Random, *, held_out: bool) -> Drawn:  # noqa: ARG001 - nothing is drawn
    """No picture, and questions that need none."""
    return Drawn((), {"text_only": functools.partial(_ask, held_out)})


def _ask(held_out: bool, rng: random.Random) -> Question:
    return rng.choice(_FORMS)(rng, held_out)
