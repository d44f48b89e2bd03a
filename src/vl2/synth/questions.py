"""One function a task: a question about a scene and its exact answer, or None if none is apt."""

import itertools
import random
from collections.abc import Callable

from vl2.synth import captions, templates
from vl2.synth.answers import MOST_BOXES, reference
from vl2.synth.drawn import Question
from vl2.synth.names import COLOURS, SHAPES, plural, with_article
from vl2.synth.things import Thing
from vl2.synth.view import (
    View,
    has_clear_order,
    in_order,
    phrases,
    place,
    side,
    some_phrase,
)

_SHAPES, _COLOURS = SHAPES, tuple(COLOURS)


def colour(view: View, rng: random.Random) -> Question | None:
    """What colour something is."""
    thing = rng.choice(view.things)
    found = [phrase for phrase in phrases(view, thing) if thing.colour not in phrase.split()]
    if not found:
        return None
    return rng.choice(templates.COLOUR).format(it=rng.choice(found)), thing.colour


def shape(view: View, rng: random.Random) -> Question | None:
    """What shape something is."""
    if not view.shapes:
        return None
    if len(view.shapes) == 1 and rng.random() < 0.5:
        return rng.choice(templates.ONLY_SHAPE), view.shapes[0].name
    thing = rng.choice(view.shapes)
    if len(view.by_colour[thing.colour]) > 1:
        return None
    return rng.choice(templates.SHAPE).format(colour=thing.colour), thing.name


def position(view: View, rng: random.Random) -> Question | None:
    """In which of nine parts of the picture something is."""
    named = some_phrase(view, rng)
    where = place(view, named[0]) if named else None
    if named is None or where is None:
        return None
    return rng.choice(templates.POSITION).format(it=named[1]), where


def _two(view: View, rng: random.Random) -> tuple[tuple[Thing, str], tuple[Thing, str]] | None:
    """Two things to compare, each with a phrase that only it fits."""
    if len(view.things) < 2:
        return None
    first, second = some_phrase(view, rng), some_phrase(view, rng)
    if first is None or second is None or first[0] is second[0]:
        return None
    return first, second


def relation(view: View, rng: random.Random) -> Question | None:
    """Whether one thing is left of, right of, above or below another."""
    two = _two(view, rng)
    if two is None:
        return None
    first, second = two
    word = rng.choice(tuple(templates.RELATIONS))
    towards = side(view, first[0], second[0], word in ("left", "right"))
    if towards == 0:
        return None
    is_so = towards == (-1 if word in ("left", "above") else 1)
    spelling = rng.choice(templates.RELATIONS[word])
    question = templates.RELATION[0].format(a=first[1], b=second[1], relation=spelling)
    return question, templates.YES_NO[is_so]


def which_side(view: View, rng: random.Random) -> Question | None:
    """On which of two sides of another thing something is.

    `relation` asks whether a given comparison holds; here the comparison is the answer.
    """
    two = _two(view, rng)
    if two is None:
        return None
    first, second = two
    words = rng.choice(tuple(templates.WHICH_SIDE))
    towards = side(view, first[0], second[0], words[0] == "left")
    if towards == 0:
        return None
    return templates.WHICH_SIDE[words].format(a=first[1], b=second[1]), words[towards > 0]


def _counted(view: View, rng: random.Random) -> tuple[str, int]:
    """Something to count, and how often it is there."""
    chance = rng.random()
    if not view.shapes:
        chance = 0.6 + 0.2 * chance
    if chance < 0.45:
        return "shapes", len(view.shapes)
    if chance < 0.62:
        name = rng.choice(_SHAPES)
        return plural(name), len(view.by_shape.get(name, ()))
    if chance < 0.76:
        noun = rng.choice(("word", "number"))
        return plural(noun), sum(text.noun == noun for text in view.texts)
    if not view.shapes:
        return "shapes", 0
    thing = rng.choice(view.shapes)
    if chance < 0.88:
        return plural(thing.name), len(view.by_shape[thing.name])
    if chance < 0.95:
        return f"{thing.colour} shapes", len(view.by_colour[thing.colour])
    return plural(thing.label), len(view.by_label[thing.label])


def counting(view: View, rng: random.Random) -> Question | None:
    """How many shapes there are: all, of one kind, of one colour, or both; or words, or numbers."""
    these, count = _counted(view, rng)
    if count == 0 and rng.random() < 0.4:
        return None
    return rng.choice(templates.COUNTING).format(these=these), str(count)


def _absent_label(view: View, rng: random.Random) -> str | None:
    """The label of a shape that is not there; half of the time both of its parts are."""
    if view.shapes and rng.random() < 0.5:
        label = f"{rng.choice(view.shapes).colour} {rng.choice(view.shapes).name}"
        if label in view.by_label:
            label = f"{rng.choice(_COLOURS)} {rng.choice(view.shapes).name}"
    else:
        label = f"{rng.choice(_COLOURS)} {rng.choice(_SHAPES)}"
    return None if label in view.by_label else label


def _absent_name(view: View, rng: random.Random) -> str | None:
    """What a picture lacks: "red star", "star", "red shape", "word" or "number"."""
    chance = rng.random()
    if chance < 0.1:
        noun = rng.choice(("word", "number"))
        return None if any(text.noun == noun for text in view.texts) else noun
    if chance < 0.5:
        return _absent_label(view, rng)
    if chance < 0.8:
        name = rng.choice(_SHAPES)
        return None if name in view.by_shape else name
    hue = rng.choice(_COLOURS)
    return None if hue in view.by_colour else f"{hue} shape"


def _present_name(view: View, rng: random.Random) -> str:
    """What a picture holds: "red star", "star", "red shape", "word" or "number"."""
    thing = rng.choice(view.things)
    if thing.kind == "text":
        return thing.noun
    return rng.choice((thing.label, thing.label, thing.name, f"{thing.colour} shape"))


def existence(view: View, rng: random.Random) -> Question | None:
    """Whether there is something; yes and no alike often."""
    if rng.random() < 0.1:
        question = rng.choice(templates.EXISTENCE).format(one="any text")
        return question, templates.YES_NO[bool(view.texts)]
    is_there = rng.random() < 0.5
    name = _present_name(view, rng) if is_there else _absent_name(view, rng)
    if name is None:
        return None
    question = rng.choice(templates.EXISTENCE).format(one=with_article(name))
    return question, templates.YES_NO[is_there]


def _read_one(view: View, rng: random.Random, thing: Thing) -> Question | None:
    if len(view.texts) == 1:
        return rng.choice(templates.ONLY).format(noun=thing.noun), thing.name
    if len(view.texts_by_colour[thing.colour]) > 1:
        return None
    template = rng.choice(templates.COLOURED_TEXT)
    return template.format(colour=thing.colour, noun=thing.noun), thing.name


def _read(noun: str) -> Callable[[View, random.Random], Question | None]:
    def read(view: View, rng: random.Random) -> Question | None:
        found = [thing for thing in view.texts if thing.noun == noun]
        return _read_one(view, rng, rng.choice(found)) if found else None

    read.__doc__ = f"What a {noun} on the picture reads."
    return read


def lines(view: View, rng: random.Random) -> Question | None:
    """All printed strings, a line each, from top to bottom."""
    if len(view.texts) < 2:
        return None
    ordered = sorted(view.texts, key=lambda thing: thing.y1)
    if any(b.y1 < a.y2 for a, b in itertools.pairwise(ordered)):
        return None
    return rng.choice(templates.ALL_TEXT), "\n".join(thing.name for thing in ordered)


def no_text(view: View, rng: random.Random) -> Question | None:
    """Reading what is not there."""
    return None if view.texts else (rng.choice(templates.TEXT), templates.NO_TEXT)


def _without_article(phrase: str, rng: random.Random) -> str:
    return phrase.removeprefix("the ") if rng.random() < 0.4 else phrase


def _located(view: View, rng: random.Random, phrase: str, things: list[Thing]) -> Question:
    answer = reference(phrase, things, view.width, view.height)
    return rng.choice(templates.LOCATE).format(phrase=phrase), answer


def locate_one(view: View, rng: random.Random) -> Question | None:
    """The box of one thing."""
    named = some_phrase(view, rng)
    if named is None:
        return None
    return _located(view, rng, _without_article(named[1], rng), [named[0]])


def locate_several(view: View, rng: random.Random) -> Question | None:
    """The boxes of all things of a kind, from left to right."""
    groups = [("shapes", view.shapes)]
    groups += [(plural(name), things) for name, things in view.by_shape.items()]
    groups += [(f"{name} shapes", things) for name, things in view.by_colour.items()]
    groups = [group for group in groups if 2 <= len(group[1]) <= MOST_BOXES]
    if not groups:
        return None
    name, things = rng.choice(groups)
    ordered = in_order(things)
    if not has_clear_order(view, ordered):
        return None
    prefix = rng.choice(("", "", "all ", "the ", "all the "))
    return _located(view, rng, prefix + name, ordered)


def locate_absent(view: View, rng: random.Random) -> Question | None:
    """A phrase for what is not there."""
    name = _absent_name(view, rng)
    if name is None:
        return None
    asked = f"the {name}" if rng.random() < 0.6 else name
    question = rng.choice(templates.LOCATE).format(phrase=asked)
    return question, templates.ABSENT.format(phrase=name)


QUESTIONS: dict[str, Callable[[View, random.Random], Question | None]] = {
    "colour": colour,
    "shape": shape,
    "position": position,
    "relation": relation,
    "which_side": which_side,
    "existence": existence,
    "counting": counting,
    "word": _read("word"),
    "number": _read("number"),
    "lines": lines,
    "no_text": no_text,
    "locate_one": locate_one,
    "locate_several": locate_several,
    "locate_absent": locate_absent,
    "caption": captions.caption,
    "listing": captions.listing,
    "places": captions.places,
    "grounded_caption": captions.grounded_caption,
}
TASKS: tuple[str, ...] = tuple(QUESTIONS)
