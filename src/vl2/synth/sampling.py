"""Training pictures with their questions and answers, from a seed."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from vl2.errors import InputError
from vl2.synth import templates
from vl2.synth.drawn import Drawn
from vl2.synth.kinds import KINDS, draw
from vl2.synth.names import SPLITS
from vl2.synth.things import Scene

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
    "paragraph": 1.0,
    "small_text": 1.0,
    "receipt": 1.0,
    "form": 1.0,
    "cell": 1.0,
    "table_markdown": 0.3,
    "chart_value": 1.0,
    "chart_largest": 0.5,
    "chart_difference": 0.5,
    "in_context": 1.0,
    "which_picture": 1.0,
    "count_pictures": 1.0,
    "in_picture": 1.0,
    "story": 1.0,
    "text_only": 1.0,
    "rows": 0.0,
    "which_side": 0.0,
}
"""How often a task is drawn where it is apt; one at 0 must be asked for. The printed strings are
read once in any case."""

CASUAL = 0.04
"""The share of questions without a capital and without a mark at the end."""

_READING = ("word", "number", "lines")
_GIVES_AWAY = frozenset(
    (
        "position",
        "relation",
        "which_side",
        "locate_one",
        "locate_several",
        "caption",
        "listing",
        "places",
        "grounded_caption",
    )
)

_TELLS_ALL = ("paragraph", "table_markdown", "rows", "in_picture", "story")


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its exact answer, which may hold grounding tags."""

    task: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Sample:
    """Rendered pictures with questions and answers.

    Attributes:
        scenes: The pictures in reading order, with what is on them; none where there is only talk.
        turns: Questions and answers, in the order in which to ask them. Boxes lie on the last
            picture.
    """

    scenes: tuple[Scene, ...]
    turns: tuple[Turn, ...]

    @property
    def images(self) -> list[Image.Image]:
        """The pictures alone, RGB."""
        return [scene.image for scene in self.scenes]


def random_source(seed: int, split: str) -> random.Random:
    """The source of chance of one picture; no two (split, seed) share one.

    Raises:
        InputError: an unknown split, or a negative seed.
    """
    if split not in SPLITS:
        raise InputError.unknown("split", split, SPLITS)
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
    """Renders pictures and asks about them: a pure function of its arguments.

    Args:
        seed: 0 or more; every seed is another sample.
        split: "train", or "heldout" for pictures, printed strings, fonts and layouts that training
            never sees.
        kinds: The weight of each kind of picture, of those in `KINDS`.
        tasks: The weight of each task; tasks that are not named are not asked.
        turns: The least and the most turns to aim for; a picture may give rise to fewer.

    Raises:
        InputError: an unknown split, kind or task, or a negative seed.
    """
    for kind, given, known in (
        ("kind of picture", kinds, KINDS),
        ("task", tasks, TASK_WEIGHTS),
    ):
        if unknown := set(given) - set(known):
            raise InputError.unknown(kind, min(unknown), known)
    rng = random_source(seed, split)
    drawn = draw(rng, dict(kinds), held_out=split == "heldout")
    return Sample(drawn.scenes, _turns(rng, drawn, tasks, rng.randint(*turns)))


def _turns(
    rng: random.Random, drawn: Drawn, tasks: Mapping[str, float], count: int
) -> tuple[Turn, ...]:
    apt = {task: weight for task, weight in tasks.items() if task in drawn.questions}
    if not apt:
        return ()
    chosen: dict[tuple[str, str], Turn] = {}
    wanted = [task for task in drawn.opening(rng) if task in apt]
    wanted += rng.choices(tuple(apt), tuple(apt.values()), k=2 * count + 4)
    for task in wanted:
        if len(chosen) >= count:
            break
        found = drawn.questions[task](rng)
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
    if turn.task in ("relation", "which_side", "existence", "count_pictures", "text_only"):
        return turn.task, turn.question
    if turn.task == "counting":
        things = turn.question.removeprefix("How many ").removeprefix("Count the ")
        return turn.task, re.split(r" are| do|\.", things)[0]
    if turn.task in ("locate_one", "locate_several"):
        return turn.task, turn.answer.partition("<|/ref|>")[2]
    return turn.task, turn.answer


def _rank(rng: random.Random, turn: Turn) -> float:
    """Where a turn goes in the conversation: a chance, with what gives answers away later.

    A turn that quotes a printed string comes after all reading, and one that tells all at the end.
    """
    rank = rng.random()
    if turn.task in _TELLS_ALL:
        return rank + 2
    if turn.task in _READING:
        return rank
    if '"' in turn.question or '"' in turn.answer:
        return rank + 1
    return rank + (0.35 if turn.task in _GIVES_AWAY else 0)
