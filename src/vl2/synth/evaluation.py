"""Held-out questions, one a picture, and the rule that decides whether a reply is right."""

import functools
import itertools
from collections.abc import Mapping

from vl2.errors import InputError
from vl2.grounding import Box, parse_normalised
from vl2.synth.sampling import TASK_WEIGHTS, Sample, Turn, sample
from vl2.synth.scene import KINDS
from vl2.synth.things import Thing

LEAST_IOU = 0.5
"""A box counts as found from this intersection over union on."""

EVALUATED: tuple[str, ...] = (
    "colour",
    "shape",
    "position",
    "relation",
    "existence",
    "counting",
    "word",
    "number",
    "locate_one",
    "locate_several",
    "locate_absent",
    "caption",
)
"""The tasks that a model is measured on by default."""

_KINDS_OF_TASK: dict[str, tuple[str, ...]] = {
    "shape": ("shapes", "both"),
    "existence": ("shapes", "both"),
    "counting": ("shapes", "both"),
    "word": ("text", "both"),
    "number": ("text", "both"),
    "lines": ("text", "both"),
    "no_text": ("shapes",),
    "locate_several": ("shapes", "both"),
    "locate_absent": ("shapes", "both"),
}

_EXACT = frozenset(("word", "number", "lines"))
_NO_BOX = ("There is no ", "There are no ")


def heldout(task: str, count: int) -> list[tuple[Sample, Turn]]:
    """The first `count` held-out questions of a task, one a picture; the same at every call.

    Raises:
        InputError: an unknown task.
    """
    if task not in TASK_WEIGHTS:
        raise InputError(f"There is no task {task!r}: use one of {', '.join(TASK_WEIGHTS)}.")
    kinds: Mapping[str, float] = {
        kind: KINDS[kind] for kind in _KINDS_OF_TASK.get(task, tuple(KINDS))
    }
    draw = functools.partial(sample, split="heldout", kinds=kinds, tasks={task: 1.0}, turns=(1, 1))
    drawn = (draw(seed) for seed in itertools.count())
    items = ((found, found.turns[0]) for found in drawn if found.turns)
    return list(itertools.islice(items, count))


def judge(turn: Turn, reply: str, sample: Sample) -> bool:
    """Whether a reply is right.

    Printed strings must be equal, letter case included, but for white space around them. Boxes
    must be as many as asked for, each with an IoU of at least `LEAST_IOU` with another one of the
    true boxes; in a grounded caption their labels must be equal too. For what is not there the
    reply must have no box and say "There is no ...". Every other answer must be equal but for
    white space around it and letter case.

    Args:
        turn: The question and its answer.
        reply: What the model said.
        sample: The picture of the turn.
    """
    if turn.task in _EXACT:
        return reply.strip() == turn.answer
    if turn.task in ("locate_one", "locate_several"):
        return _boxes_match(turn, reply, sample, labels=False)
    if turn.task == "grounded_caption":
        return _boxes_match(turn, reply, sample, labels=True)
    if turn.task in ("locate_absent", "no_text"):
        return not parse_normalised(reply) and reply.strip().startswith(_NO_BOX)
    return reply.strip().casefold() == turn.answer.casefold()


def intersection_over_union(a: Box, b: Box) -> float:
    """The area that two boxes share, as a part of the area that they cover together (0..1)."""
    across = min(a.x2, b.x2) - max(a.x1, b.x1)
    down = min(a.y2, b.y2) - max(a.y1, b.y1)
    shared = max(0.0, across) * max(0.0, down)
    covered = (a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - shared
    return shared / covered if covered > 0 else 0.0


def true_boxes(turn: Turn, sample: Sample) -> list[Box]:
    """The boxes that a turn asks for, unrounded, in 0..999 of the picture."""
    everything = [_box(thing, sample.image.size) for thing in sample.things]
    found = []
    for spelt in parse_normalised(turn.answer):
        nearest = max(everything, key=lambda box: intersection_over_union(box, spelt))
        found.append(Box(spelt.label, *nearest.corners))
    return found


def _box(thing: Thing, size: tuple[int, int]) -> Box:
    x, y = 999 / size[0], 999 / size[1]
    return Box(thing.label, thing.x1 * x, thing.y1 * y, thing.x2 * x, thing.y2 * y)


def _boxes_match(turn: Turn, reply: str, sample: Sample, *, labels: bool) -> bool:
    """Whether the boxes of a reply are the true ones; these never overlap, so first come counts."""
    left = parse_normalised(reply)
    wanted = true_boxes(turn, sample)
    if len(left) != len(wanted):
        return False
    for truth in wanted:
        for box in left:
            same_label = not labels or box.label == truth.label
            if same_label and intersection_over_union(truth, box) >= LEAST_IOU:
                left.remove(box)
                break
        else:
            return False
    return True
