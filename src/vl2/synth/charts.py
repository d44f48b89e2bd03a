"""What charts say: values by name, and what can be asked about them."""

import functools
import itertools
import random
from dataclasses import dataclass

from vl2.synth import templates, topics
from vl2.synth.drawn import Ask, Question, ask_rows

_TOPS = (8, 12, 20, 40, 80, 100, 200, 400)
_LEAST_STEP = 0.05
_STEPS = 4
"""A scale is divided into so many steps; unprinted values lie on one or half-way between two."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Values by name, in the order in which they are drawn, and the end of their scale."""

    names: tuple[str, ...]
    values: tuple[int, ...]
    top: int
    sign: str = ""

    @property
    def printed(self) -> tuple[str, ...]:
        """The values as they are printed: `35`, `$35` or `35%`."""
        return tuple(spelt(value, self.sign) for value in self.values)

    @property
    def ticks(self) -> tuple[str, ...]:
        """What is printed along the scale, from 0 to its end."""
        return tuple(spelt(self.top * i // _STEPS, self.sign) for i in range(_STEPS + 1))


def spelt(value: int, sign: str) -> str:
    """A value with its sign: a dollar before it or a percent sign behind it."""
    return f"{value}%" if sign == "%" else f"{sign}{value}"


def _are_apart(values: list[int], top: int) -> bool:
    """Whether no two values are too near to see which one is larger."""
    ordered = sorted(values)
    return all(b - a >= _LEAST_STEP * top for a, b in itertools.pairwise(ordered))


def values(
    rng: random.Random, count: int, *, on_scale: bool, least: float = 0.12
) -> tuple[list[int], int]:
    """Some values and the end of their scale.

    Args:
        rng: The source of chance.
        count: How many values.
        on_scale: Whether they must be read off a scale, and so lie on a step or half a step.
        least: The least value as a part of the scale.
    """
    while True:
        top = rng.choice([top for top in _TOPS if not on_scale or top % (2 * _STEPS) == 0])
        unit = top // (2 * _STEPS) if on_scale else 1
        lowest = max(1, round(least * top / unit))
        drawn = [unit * rng.randint(lowest, top // unit) for _ in range(count)]
        if _are_apart(drawn, top) and 2 * max(drawn) >= top:
            return drawn, top


def shares(rng: random.Random, count: int, least: int) -> list[int]:
    """Percentages that add up to 100, none of them below `least`."""
    while True:
        cuts = sorted(rng.sample(range(1, 100), count - 1))
        drawn = [b - a for a, b in itertools.pairwise((0, *cuts, 100))]
        if min(drawn) >= least and _are_apart(drawn, 40):
            return drawn


def words(rng: random.Random, count: int, *, held_out: bool, longest: int) -> list[str]:
    """The names of a chart's values: words of one topic."""
    topic = rng.choice(("goods", "people", "towns", "words"))
    found = topics.pick(rng, topic, count, held_out=held_out, longest=longest)
    return [word.capitalize() for word in found] if rng.random() < 0.6 else found


def asks(said: Chart) -> dict[str, Ask]:
    """The questions about a chart by task."""
    return {
        "chart_value": functools.partial(_value, said),
        "chart_largest": functools.partial(_largest, said),
        "chart_difference": functools.partial(_difference, said),
        "rows": ask_rows(tuple(zip(said.names, said.printed, strict=True)), templates.CAPTION),
    }


def _value(said: Chart, rng: random.Random) -> Question:
    place = rng.randrange(len(said.names))
    return rng.choice(templates.VALUE).format(name=said.names[place]), said.printed[place]


def _largest(said: Chart, rng: random.Random) -> Question:
    extreme = rng.choice(templates.EXTREMES)
    wanted = max(said.values) if extreme == "largest" else min(said.values)
    answer = said.names[said.values.index(wanted)]
    return rng.choice(templates.EXTREME).format(extreme=extreme), answer


def _difference(said: Chart, rng: random.Random) -> Question | None:
    if len(said.names) < 2:
        return None
    pair = rng.sample(range(len(said.names)), 2)
    low, high = sorted(pair, key=lambda place: said.values[place])
    question = rng.choice(templates.DIFFERENCE)
    answer = spelt(said.values[high] - said.values[low], said.sign)
    return question.format(larger=said.names[high], smaller=said.names[low]), answer
