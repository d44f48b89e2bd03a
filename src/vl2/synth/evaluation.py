"""Held-out questions, one a sample."""

import functools
import itertools

from vl2.errors import InputError
from vl2.synth.kinds import KINDS
from vl2.synth.sampling import TASK_WEIGHTS, Sample, Turn, sample

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
    "grounded_caption",
    "lines",
    "paragraph",
    "small_text",
    "receipt",
    "form",
    "cell",
    "table_markdown",
    "chart_value",
    "chart_largest",
    "chart_difference",
    "in_context",
    "which_picture",
    "count_pictures",
    "in_picture",
    "story",
    "text_only",
)
"""The tasks that a model is measured on by default; every other one can be asked for by name."""

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
    "paragraph": ("paragraph",),
    "small_text": ("small_print",),
    "receipt": ("receipt",),
    "form": ("form",),
    "cell": ("table",),
    "table_markdown": ("table",),
    "chart_value": ("bar_chart", "line_chart", "pie_chart"),
    "chart_largest": ("bar_chart", "line_chart", "pie_chart"),
    "chart_difference": ("bar_chart", "line_chart", "pie_chart"),
    "in_context": ("pair",),
    "which_picture": ("album",),
    "count_pictures": ("album",),
    "in_picture": ("album",),
    "story": ("story",),
    "text_only": ("talk",),
    "rows": ("receipt", "form", "bar_chart", "line_chart", "pie_chart"),
}


def heldout(task: str, count: int) -> list[tuple[Sample, Turn]]:
    """The first `count` held-out questions of a task, one a sample; the same at every call.

    Raises:
        InputError: an unknown task.
    """
    if task not in TASK_WEIGHTS:
        raise InputError.unknown("task", task, TASK_WEIGHTS)
    apt = _KINDS_OF_TASK.get(task, ("shapes", "text", "both"))
    kinds = {kind: KINDS[kind] or 1.0 for kind in apt}
    draw = functools.partial(sample, split="heldout", kinds=kinds, tasks={task: 1.0}, turns=(1, 1))
    drawn = (draw(seed) for seed in itertools.count())
    items = ((found, found.turns[0]) for found in drawn if found.turns)
    return list(itertools.islice(items, count))
