"""What one seed gives before anything is asked: pictures, and what can be asked about them."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vl2.synth import templates
from vl2.synth.things import Scene

Question = tuple[str, str]
"""A question and its exact answer."""

Ask = Callable[[random.Random], Question | None]
"""Asks about what was drawn, in a wording drawn by chance; None if nothing apt was found."""


def ask_rows(rows: Iterable[tuple[str, str]], wordings: Sequence[str] = templates.ALL_TEXT) -> Ask:
    """Asks for all rows of a document or a chart: each name with its value, a line each.

    A question about one value takes two looks, for the name and from there to the value. A list
    rewards the second look alone.
    """
    answer = "\n".join(f"{name} {value}" for name, value in rows)
    return lambda rng: (rng.choice(wordings), answer)


def _none(rng: random.Random) -> list[str]:  # noqa: ARG001 - the shape of `Drawn.opening`
    return []


@dataclass(frozen=True, slots=True)
class Drawn:
    """Pictures with what can be asked about them.

    Attributes:
        scenes: The pictures in reading order; none where there is only talk.
        questions: What can be asked, by task.
        opening: Draws the tasks that are asked in any case.
    """

    scenes: tuple[Scene, ...]
    questions: Mapping[str, Ask]
    opening: Callable[[random.Random], list[str]] = field(default=_none)
