"""A training picture with its questions and answers, from a seed."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from vl2.errors import InputError
from vl2.synth import templates
from vl2.synth.names import SPLITS
from vl2.synth.questions import QUESTIONS
from vl2.synth.scene import KINDS, scene
from vl2.synth.things import Character, Scene, Thing
from vl2.synth.view import View, view_of

TASK_WEIGHTS: dict[str, float] = {
    "colour": 1.0,
    "shape": 1.0,
    "position": 1.0,
    "relation": 1.2,
    "existence": 1.0,
    "counting": 1.6,
    "word": 1.0,
    "number": 0.7,
    "lines": 0.6,
    "no_text": 0.15,
    "locate_one": 2.4,
    "locate_several": 1.2,
    "locate_absent": 0.8,
    "caption": 0.7,
    "listing": 0.5,
    "places": 0.5,
    "grounded_caption": 0.7,
}
"""How often a task is drawn where it is apt. The printed strings are read once in any case."""

CASUAL = 0.04
"""The share of questions without a capital and without a mark at the end."""

_READING = ("word", "number", "lines")
_GIVES_AWAY = frozenset(
    (
        "position",
        "relation",
        "locate_one",
        "locate_several",
        "caption",
        "listing",
        "places",
        "grounded_caption",
    )
)


@dataclass(frozen=True, slots=True)
class Turn:
    """A question about a picture and its exact answer, which may hold grounding tags."""

    task: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A rendered picture with what is known about it.

    Attributes:
        image: The picture, RGB.
        things: What is on it, with boxes in pixels.
        turns: Questions and answers, in the order in which to ask them.
        characters: The printed letters with their cells (character, x1, y1, x2, y2) in pixels.
    """

    image: Image.Image
    things: tuple[Thing, ...]
    turns: tuple[Turn, ...]
    characters: tuple[Character, ...]


def random_source(seed: int, split: str) -> random.Random:
    """The source of chance of one picture; no two (split, seed) share one.

    Raises:
        InputError: an unknown split, or a negative seed.
    """
    if split not in SPLITS:
        raise InputError(f"There is no split {split!r}: use one of {', '.join(SPLITS)}.")
    if seed < 0:
        raise InputError(f"A seed must be 0 or more, got {seed}.")
    return random.Random(len(SPLITS) * seed + SPLITS.index(split))


def sample(
    seed: int,
    split: str = "train",
    *,
    kinds: Mapping[str, float] = KINDS,
    tasks: Mapping[str, float] = TASK_WEIGHTS,
    turns: tuple[int, int] = (6, 10),
) -> Sample:
    """Renders a picture and asks about it: a pure function of its arguments.

    Args:
        seed: 0 or more; every seed is another picture.
        split: "train", or "heldout" for pictures and printed strings that training never sees.
        kinds: The weight of each kind of picture: "shapes", "text", "both".
        tasks: The weight of each task; tasks that are not named are not asked.
        turns: The least and the most turns to aim for; a picture may give rise to fewer.

    Raises:
        InputError: an unknown split, kind or task, or a negative seed.
    """
    for given, known in ((kinds, KINDS), (tasks, TASK_WEIGHTS)):
        if unknown := set(given) - set(known):
            raise InputError(f"Unknown: {sorted(unknown)}. Use some of {', '.join(known)}.")
    rng = random_source(seed, split)
    drawn = scene(rng, dict(kinds), held_out=split == "heldout")
    asked = _turns(rng, drawn, tasks, rng.randint(*turns))
    return Sample(drawn.image, drawn.things, asked, drawn.characters)


def _turns(
    rng: random.Random, drawn: Scene, tasks: Mapping[str, float], count: int
) -> tuple[Turn, ...]:
    if not tasks:
        return ()
    view = view_of(drawn)
    names, weights = tuple(tasks), tuple(tasks.values())
    chosen: dict[tuple[str, str], Turn] = {}
    wanted = _readings(rng, view, tasks) + rng.choices(names, weights, k=2 * count + 4)
    for task in wanted:
        if len(chosen) >= count:
            break
        found = QUESTIONS[task](view, rng)
        if found is not None:
            turn = Turn(task, *found)
            chosen.setdefault(_matter(turn), turn)
    ordered = sorted(chosen.values(), key=lambda turn: _rank(rng, turn))
    return tuple(
        Turn(turn.task, templates.casual(turn.question), turn.answer)
        if rng.random() < CASUAL
        else turn
        for turn in ordered
    )


def _matter(turn: Turn) -> tuple[str, str]:
    """What a turn is about; a conversation asks about a matter once, in one wording.

    Most answers tell the matter apart; for the others the words after the wording do.
    """
    if turn.task in ("relation", "existence"):
        return turn.task, turn.question
    if turn.task == "counting":
        things = turn.question.removeprefix("How many ").removeprefix("Count the ")
        return turn.task, re.split(r" are| do|\.", things)[0]
    if turn.task in ("locate_one", "locate_several"):
        return turn.task, turn.answer.partition("<|/ref|>")[2]
    return turn.task, turn.answer


def _readings(rng: random.Random, view: View, tasks: Mapping[str, float]) -> list[str]:
    """The reading tasks that a picture with text starts from, so that no print goes unread."""
    one_by_one = len(view.texts_by_colour) == len(view.texts)
    if len(view.texts) > 1 and (not one_by_one or rng.random() < 0.4):
        found = ["lines"]
    else:
        found = [thing.noun for thing in view.texts]
    return [task for task in found if task in tasks]


def _rank(rng: random.Random, turn: Turn) -> float:
    """Where a turn goes in the conversation: a chance, with what gives answers away later.

    A turn that quotes a printed string comes after all reading.
    """
    rank = rng.random()
    if turn.task in _READING:
        return rank
    if '"' in turn.question or '"' in turn.answer:
        return rank + 1
    return rank + (0.35 if turn.task in _GIVES_AWAY else 0)
