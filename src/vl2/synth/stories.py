"""Stories in pictures: shapes that come, leave, move, grow and change, told in order."""

import functools
import random
from dataclasses import dataclass, replace

from vl2.synth import templates
from vl2.synth.albums import FEWEST, MOST
from vl2.synth.backgrounds import RGB, background
from vl2.synth.drawn import Drawn, Question
from vl2.synth.names import SHAPES, with_article
from vl2.synth.painter import Painter, apt_colours, jittered
from vl2.synth.things import Scene

_PLACES: dict[str, tuple[float, float]] = {
    "left": (0.19, 0.5),
    "right": (0.81, 0.5),
    "top": (0.5, 0.19),
    "bottom": (0.5, 0.81),
    "centre": (0.5, 0.5),
}
_LENGTHS = (0.19, 0.30)
"""Of small and of large shapes, in sides of the picture: no two places are nearer than a large one
is long, and a small one is plain to see in a single tile."""

_SIDES = (96, 240)


@dataclass(frozen=True, slots=True)
class Actor:
    """A shape in one picture of a story."""

    shape: str
    colour: str
    place: str
    is_large: bool

    @property
    def label(self) -> str:
        """What it is called when it first appears: "a red star"."""
        return with_article(f"{self.colour} {self.shape}")


Cast = tuple[Actor, ...]
"""Who is in a picture; no two are of one shape or in one place."""


@dataclass(frozen=True, slots=True)
class Story:
    """The cast of each picture, and the sentence that tells of it."""

    casts: tuple[Cast, ...]
    sentences: tuple[str, ...]


def _free_places(cast: Cast) -> list[str]:
    """Where another shape fits: the centre is too near to every other place."""
    taken = {actor.place for actor in cast}
    if "centre" in taken:
        return []
    return [place for place in _PLACES if place not in taken and (place != "centre" or not taken)]


def _comes(rng: random.Random, cast: Cast, colours: list[str]) -> tuple[Cast, str] | None:
    free = _free_places(cast)
    if len(cast) > 1 or not free:
        return None
    shape = rng.choice([shape for shape in SHAPES if shape != cast[0].shape])
    actor = Actor(shape, rng.choice(colours), rng.choice(free), rng.random() < 0.5)
    return (*cast, actor), templates.EVENTS["comes"].format(one=actor.label)


def _leaves(rng: random.Random, cast: Cast, _: list[str]) -> tuple[Cast, str] | None:
    if len(cast) < 2:
        return None
    gone = rng.choice(cast)
    left = tuple(actor for actor in cast if actor is not gone)
    return left, templates.EVENTS["leaves"].format(it=gone.shape)


def _changed(cast: Cast, old: Actor, new: Actor) -> Cast:
    return tuple(new if actor is old else actor for actor in cast)


def _turns(rng: random.Random, cast: Cast, colours: list[str]) -> tuple[Cast, str]:
    actor = rng.choice(cast)
    colour = rng.choice([colour for colour in colours if colour != actor.colour])
    told = templates.EVENTS["turns"].format(it=actor.shape, colour=colour)
    return _changed(cast, actor, replace(actor, colour=colour)), told


def _grows(rng: random.Random, cast: Cast, _: list[str]) -> tuple[Cast, str]:
    actor = rng.choice(cast)
    event = "shrinks" if actor.is_large else "grows"
    told = templates.EVENTS[event].format(it=actor.shape)
    return _changed(cast, actor, replace(actor, is_large=not actor.is_large)), told


def _moves(rng: random.Random, cast: Cast, _: list[str]) -> tuple[Cast, str] | None:
    actor = rng.choice(cast)
    others = tuple(other for other in cast if other is not actor)
    free = [place for place in _free_places(others) if place != actor.place]
    if not free:
        return None
    place = rng.choice(free)
    told = templates.EVENTS["moves"].format(it=actor.shape, where=place)
    return _changed(cast, actor, replace(actor, place=place)), told


_EVENTS = (_comes, _comes, _leaves, _turns, _grows, _moves)


def story(rng: random.Random, colours: list[str]) -> Story:
    """A random story of shapes in some of these colours; one thing happens at a time."""
    place = rng.choice(tuple(_PLACES))
    actor = Actor(rng.choice(SHAPES), rng.choice(colours), place, rng.random() < 0.5)
    where = templates.AT[place]
    label = actor.label[0].upper() + actor.label[1:]
    casts: list[Cast] = [(actor,)]
    sentences = [templates.BEGINNING.format(one=label, where=where)]
    count = rng.randint(FEWEST, MOST)
    while len(casts) < count:
        happened = rng.choice(_EVENTS)(rng, casts[-1], colours)
        if happened is not None:
            casts.append(happened[0])
            sentences.append(happened[1])
    return Story(tuple(casts), tuple(sentences))


def draw(rng: random.Random, *, held_out: bool) -> Drawn:  # noqa: ARG001 - nothing is printed
    """The pictures of a story on one ground, in order."""
    side = rng.randint(*_SIDES)
    behind = background(rng, side, side)
    colours = sorted(set(apt_colours(behind.colours, text=False)))
    shades = {colour: jittered(rng, colour) for colour in colours}
    told = story(rng, colours)
    scenes = []
    for cast in told.casts:
        painter = Painter(rng, replace(behind, image=behind.image.copy()), tiled=False)
        scenes.append(_scene(painter, cast, shades))
    return Drawn(tuple(scenes), {"story": functools.partial(_tell, told)})


def _scene(painter: Painter, cast: Cast, shades: dict[str, RGB]) -> Scene:
    for actor in cast:
        x, y = _PLACES[actor.place]
        length = _LENGTHS[actor.is_large] * painter.width
        painter.shape_at(
            actor.shape,
            (actor.colour, shades[actor.colour]),
            length,
            (x * painter.width, y * painter.height),
        )
    return painter.scene()


def _tell(told: Story, rng: random.Random) -> Question:
    return rng.choice(templates.STORY), " ".join(told.sentences)
