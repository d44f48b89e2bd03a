"""Every kind of sample: how often it is drawn by default, and by what."""

import functools
import random
from typing import Protocol, get_args

from vl2.synth import (
    albums,
    bars,
    curves,
    forms,
    pairs,
    paragraphs,
    pies,
    questions,
    receipts,
    stories,
    tables,
    talk,
)
from vl2.synth.drawn import Drawn
from vl2.synth.scene import Kind, scene
from vl2.synth.view import View, view_of

KINDS: dict[str, float] = {
    "shapes": 0.45,
    "text": 0.30,
    "both": 0.25,
    "one": 0.0,
    "two": 0.0,
    "sign": 0.0,
    "page": 0.0,
    "paragraph": 0.0,
    "small_print": 0.0,
    "receipt": 0.0,
    "form": 0.0,
    "table": 0.0,
    "bar_chart": 0.0,
    "line_chart": 0.0,
    "pie_chart": 0.0,
    "pair": 0.0,
    "album": 0.0,
    "story": 0.0,
    "talk": 0.0,
    "short_receipt": 0.0,
    "short_form": 0.0,
    "short_table": 0.0,
    "short_chart": 0.0,
}
"""The kinds of samples, and how often each is drawn where nothing else is said. Those at 0 must be
asked for: what the others give for a seed stays what it was when models were trained on them.
Short documents and charts have one or two rows, so that a start can be made where there is little
to choose from."""


class _Draw(Protocol):
    def __call__(self, rng: random.Random, *, held_out: bool) -> Drawn | None: ...


def _opening(view: View, rng: random.Random) -> list[str]:
    """The reading tasks that a picture with text starts from, so that no print goes unread."""
    one_by_one = len(view.texts_by_colour) == len(view.texts)
    if len(view.texts) > 1 and (not one_by_one or rng.random() < 0.4):
        return ["lines"]
    return [thing.noun for thing in view.texts]


def _of_things(kind: Kind) -> _Draw:
    """Draws shapes and strings that lie about."""

    def draw(rng: random.Random, *, held_out: bool) -> Drawn | None:
        drawn = scene(rng, kind, held_out=held_out)
        if drawn is None:
            return None
        view = view_of(drawn)
        asks = {task: functools.partial(ask, view) for task, ask in questions.QUESTIONS.items()}
        return Drawn((drawn,), asks, functools.partial(_opening, view))

    return draw


def _until_drawn(draw: _Draw) -> _Draw:
    """Draws again until something came out legible, so that every kind is as frequent as wished."""

    def drawn(rng: random.Random, *, held_out: bool) -> Drawn:
        while True:
            found = draw(rng, held_out=held_out)
            if found is not None:
                return found

    return drawn


_SHORT = (1, 2)
_MADE: dict[str, _Draw] = {
    "paragraph": paragraphs.draw,
    "small_print": paragraphs.draw_small,
    "receipt": receipts.draw,
    "form": forms.draw,
    "table": tables.draw,
    "bar_chart": bars.draw,
    "line_chart": curves.draw,
    "pie_chart": pies.draw,
    "pair": pairs.draw,
    "album": albums.draw,
    "story": stories.draw,
    "talk": talk.draw,
    "short_receipt": functools.partial(receipts.draw, goods=_SHORT),
    "short_form": functools.partial(forms.draw, count=_SHORT),
    "short_table": functools.partial(tables.draw, rows=_SHORT, columns=(1, 1)),
    "short_chart": functools.partial(bars.draw, bars=_SHORT),
}
_DRAW: dict[str, _Draw] = {
    **{kind: _of_things(kind) for kind in get_args(Kind)},
    **{kind: _until_drawn(draw) for kind, draw in _MADE.items()},
}


def draw(rng: random.Random, kinds: dict[str, float], *, held_out: bool) -> Drawn:
    """A random sample before it is asked about.

    Args:
        rng: The source of chance.
        kinds: The weight of each kind.
        held_out: Whether strings, fonts and layouts are those that training never sees.
    """
    while True:
        kind = rng.choices(tuple(kinds), tuple(kinds.values()))[0]
        drawn = _DRAW[kind](rng, held_out=held_out)
        if drawn is not None:
            return drawn
