"""What can be said about a scene: its things sorted by what names them."""

import itertools
import random
from collections import defaultdict
from dataclasses import dataclass

from vl2.synth.names import PLACES
from vl2.synth.things import Scene, Thing


@dataclass(frozen=True, slots=True)
class View:
    """The things of a scene by kind, colour and name."""

    width: int
    height: int
    things: tuple[Thing, ...]
    shapes: tuple[Thing, ...]
    texts: tuple[Thing, ...]
    by_shape: dict[str, list[Thing]]
    by_colour: dict[str, list[Thing]]
    by_label: dict[str, list[Thing]]
    texts_by_colour: dict[str, list[Thing]]


def view_of(scene: Scene) -> View:
    """Sorts the things of a scene."""
    by_shape: defaultdict[str, list[Thing]] = defaultdict(list)
    by_colour: defaultdict[str, list[Thing]] = defaultdict(list)
    by_label: defaultdict[str, list[Thing]] = defaultdict(list)
    texts_by_colour: defaultdict[str, list[Thing]] = defaultdict(list)
    for thing in scene.things:
        if thing.kind == "shape":
            by_shape[thing.name].append(thing)
            by_colour[thing.colour].append(thing)
        else:
            texts_by_colour[thing.colour].append(thing)
        by_label[thing.label].append(thing)
    return View(
        *scene.image.size,
        scene.things,
        tuple(thing for thing in scene.things if thing.kind == "shape"),
        tuple(thing for thing in scene.things if thing.kind == "text"),
        by_shape,
        by_colour,
        by_label,
        texts_by_colour,
    )


def phrases(view: View, thing: Thing) -> list[str]:
    """The phrases that mean this thing and no other, the fullest first; empty if there is none."""
    found = []
    if thing.kind == "shape":
        if len(view.by_label[thing.label]) == 1:
            found.append(f"the {thing.label}")
        if len(view.by_shape[thing.name]) == 1:
            found.append(f"the {thing.name}")
        if len(view.by_colour[thing.colour]) == 1:
            found.append(f"the {thing.colour} shape")
        if len(view.shapes) == 1:
            found.append("the shape")
        return found
    if len(view.by_label[thing.label]) == 1:
        found.append(f"the {thing.label}")
    if len(view.texts_by_colour[thing.colour]) == 1:
        found.append(f"the {thing.colour} text")
    if len(view.texts) == 1:
        found += ["the text", f"the {thing.noun}"]
    return found


def some_phrase(view: View, rng: random.Random) -> tuple[Thing, str] | None:
    """A thing and a phrase that means it alone: half of the time the fullest one."""
    thing = rng.choice(view.things)
    found = phrases(view, thing)
    if not found:
        return None
    return thing, found[0] if rng.random() < 0.5 else rng.choice(found)


def _third(fraction: float) -> int | None:
    """0, 1 or 2 for a position clearly in the first, the middle or the last part of a side."""
    if fraction < 0.30:
        return 0
    if fraction > 0.70:
        return 2
    return 1 if 0.38 < fraction < 0.62 else None


def place(view: View, thing: Thing) -> str | None:
    """Where a thing is, in one of nine words; None where a person would hesitate."""
    x, y = thing.centre
    column, row = _third(x / view.width), _third(y / view.height)
    if column is None or row is None:
        return None
    return PLACES[row][column]


def side(view: View, a: Thing, b: Thing, horizontal: bool) -> int:
    """-1 if `a` is clearly left of (above) `b`, 1 if clearly right of (below), 0 if neither."""
    along = 0 if horizontal else 1
    distance = a.centre[along] - b.centre[along]
    if abs(distance) < 0.14 * (view.width if horizontal else view.height):
        return 0
    return -1 if distance < 0 else 1


def in_order(things: list[Thing] | tuple[Thing, ...]) -> list[Thing]:
    """Things from left to right, by their left edges (then their top edges)."""
    return sorted(things, key=lambda thing: (thing.x1, thing.y1))


def has_clear_order(view: View, ordered: list[Thing]) -> bool:
    """Whether the left edges differ enough to see which thing comes first."""
    least = 0.03 * view.width
    return all(b.x1 - a.x1 >= least for a, b in itertools.pairwise(ordered))
