"""Questions about everything on a picture: captions, with boxes and without, and lists."""

import random

from vl2.synth import templates
from vl2.synth.answers import MOST_BOXES, reference
from vl2.synth.drawn import Question
from vl2.synth.names import with_article
from vl2.synth.things import Thing
from vl2.synth.view import View, has_clear_order, in_order, place


def _listed(parts: list[tuple[str, str]]) -> str:
    """Parts, each an article and the rest, joined to a sentence with one "and"."""
    spelt = [f"{article} {rest}" for article, rest in parts]
    sentence = spelt[0] if len(spelt) == 1 else f"{', '.join(spelt[:-1])} and {spelt[-1]}"
    return sentence[0].upper() + sentence[1:] + "."


def _article(thing: Thing) -> str:
    return "the" if thing.kind == "text" else with_article(thing.label).split()[0]


def _described(view: View) -> list[Thing] | None:
    if len(view.things) > MOST_BOXES:
        return None
    ordered = in_order(view.things)
    return ordered if has_clear_order(view, ordered) else None


def caption(view: View, rng: random.Random) -> Question | None:
    """What is on the picture, from left to right."""
    ordered = _described(view)
    if ordered is None:
        return None
    answer = _listed([(_article(thing), thing.label) for thing in ordered])
    return rng.choice(templates.CAPTION), answer


def _unlike_shapes(view: View) -> list[Thing] | None:
    """A few shapes from left to right, no two of the same name."""
    if not 1 <= len(view.shapes) <= MOST_BOXES or len(view.by_shape) < len(view.shapes):
        return None
    ordered = in_order(view.shapes)
    return ordered if has_clear_order(view, ordered) else None


def listing(view: View, rng: random.Random) -> Question | None:
    """Each shape followed by its colour.

    A caption tells colours before shapes. Here the shape comes first, so that a model learns both
    ways from one to the other.
    """
    ordered = _unlike_shapes(view)
    if ordered is None:
        return None
    answer = ", ".join(f"{thing.name} {thing.colour}" for thing in ordered)
    return rng.choice(templates.LISTING), answer


def places(view: View, rng: random.Random) -> Question | None:
    """Each shape followed by the part of the picture that it is in."""
    ordered = _unlike_shapes(view) or []
    parts = [(thing.name, place(view, thing)) for thing in ordered]
    if not parts or any(where is None for _, where in parts):
        return None
    return rng.choice(templates.PLACES), ", ".join(f"{name} {where}" for name, where in parts)


def grounded_caption(view: View, rng: random.Random) -> Question | None:
    """What is on the picture, from left to right, each thing with its box."""
    ordered = _described(view)
    if ordered is None:
        return None
    parts = [
        (_article(thing), reference(thing.label, [thing], view.width, view.height))
        for thing in ordered
    ]
    return rng.choice(templates.GROUNDED_CAPTION), _listed(parts)
