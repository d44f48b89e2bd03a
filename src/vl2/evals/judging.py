"""Whether a reply to a rendered question is right."""

from __future__ import annotations

import html
from collections.abc import Callable

from vl2.evals.metrics.boxes import intersection_over_union
from vl2.evals.metrics.distance import edit_distance
from vl2.evals.metrics.relaxed import is_relaxed_match
from vl2.evals.metrics.tables import teds
from vl2.grounding import Box, parse_normalised
from vl2.synth.sampling import Sample, Turn
from vl2.synth.things import Thing

LEAST_IOU = 0.5
"""A box counts as found from this intersection over union on."""

MOST_ERRORS = 0.1
"""A paragraph counts as read up to this edit distance, as a share of its characters."""

LEAST_SIMILARITY = 0.95
"""A table counts as written down from this similarity (TEDS) on: some letters may be wrong, but in
a table as small as those that are rendered no cell may."""

_NO_BOX = ("There is no ", "There are no ")


def judge(turn: Turn, reply: str, sample: Sample) -> bool:
    """Whether a reply is right.

    Printed strings must be equal, letter case included, but for white space around them; a
    paragraph may have `MOST_ERRORS`, and a table must be similar (`LEAST_SIMILARITY`). Values of
    charts may be 5 % off. Boxes must be as many as asked for, each with an IoU of at least
    `LEAST_IOU` with another one of the true boxes; in a grounded caption their labels must be equal
    too. For what is not there the reply must have no box and say "There is no ...". Every other
    answer must be equal but for white space around it and letter case.

    Args:
        turn: The question and its answer.
        reply: What the model said.
        sample: The pictures of the turn.
    """
    return _RULES.get(turn.task, _is_same)(turn, reply, sample)


def _is_same(turn: Turn, reply: str, _: Sample) -> bool:
    return reply.strip().casefold() == turn.answer.casefold()


def _is_exact(turn: Turn, reply: str, _: Sample) -> bool:
    return reply.strip() == turn.answer


def _is_absent(_: Turn, reply: str, __: Sample) -> bool:
    return not parse_normalised(reply) and reply.strip().startswith(_NO_BOX)


def _is_read(turn: Turn, reply: str, _: Sample) -> bool:
    edits = edit_distance(reply.strip()[: 2 * len(turn.answer)], turn.answer)
    return edits <= MOST_ERRORS * len(turn.answer)


def _is_near(turn: Turn, reply: str, _: Sample) -> bool:
    return is_relaxed_match(reply.strip().strip("$%"), turn.answer.strip("$%"))


def _is_table(turn: Turn, reply: str, _: Sample) -> bool:
    return teds(as_html(reply), as_html(turn.answer)) >= LEAST_SIMILARITY


def as_html(markdown: str) -> str:
    """The lines of a Markdown table, without the one of dashes below its head, in HTML."""
    lines = [line.strip().strip("|") for line in markdown.splitlines() if "|" in line]
    rows = [line.split("|") for line in lines if line.strip("|-: ")]
    return f"<table>{''.join(map(_row, rows))}</table>"


def _row(cells: list[str]) -> str:
    return f"<tr>{''.join(f'<td>{html.escape(cell.strip())}</td>' for cell in cells)}</tr>"


def _has_boxes(turn: Turn, reply: str, sample: Sample) -> bool:
    return _boxes_match(turn, reply, sample, labels=False)


def _has_labelled_boxes(turn: Turn, reply: str, sample: Sample) -> bool:
    return _boxes_match(turn, reply, sample, labels=True)


def true_boxes(turn: Turn, sample: Sample) -> list[Box]:
    """The boxes that a turn asks for, unrounded, in 0..999 of the last picture."""
    last = sample.scenes[-1]
    everything = [_box(thing, last.image.size) for thing in last.things]
    found = []
    for spelt in parse_normalised(turn.answer):
        nearest = max(everything, key=lambda box: _overlap(box, spelt))
        found.append(Box(spelt.label, *nearest.corners))
    return found


def _overlap(a: Box, b: Box) -> float:
    return intersection_over_union(a.corners, b.corners)


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
            if same_label and _overlap(truth, box) >= LEAST_IOU:
                left.remove(box)
                break
        else:
            return False
    return True


_RULES: dict[str, Callable[[Turn, str, Sample], bool]] = {
    **dict.fromkeys(("word", "number", "lines"), _is_exact),
    **dict.fromkeys(("small_text", "receipt", "form", "cell"), _is_exact),
    **dict.fromkeys(("locate_one", "locate_several", "in_context"), _has_boxes),
    **dict.fromkeys(("locate_absent", "no_text"), _is_absent),
    **dict.fromkeys(("chart_value", "chart_difference"), _is_near),
    "grounded_caption": _has_labelled_boxes,
    "paragraph": _is_read,
    "table_markdown": _is_table,
}
