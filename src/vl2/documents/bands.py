"""Long pages: which are cut, where, and how the readings of the bands become one again.

A page is shown to the model scaled into a grid of tiles, and the longer it is, the narrower it
comes out: of a page four times as long as wide not even two tiles' width is left. The rule: a page
that would be shown narrower than `across` tiles, and smaller than it is, is cut into horizontal
bands that are each shown at least so wide, or in full size. Bands overlap by an eighth of their
height. With two tiles and the tiling of the released models that concerns pages more than twice as
long as wide.

Limits: pages are cut across only, so a line that is longer than a band is wide stays whole and
small. A band's edge may run through a line; such a torn line is dropped where the other band has
it whole. Two bands without any line in common (an empty overlap, a picture, a reading that went
wrong) are put one below the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from vl2.grounding import Box
from vl2.processing.tiling import Tiling

MAX_BANDS = 100

_OVERLAP = 8
_ALIKE = 0.85
_LONGEST_COMPARED = 400
_SAME_BOX = 0.5


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of a page, in pixels from its top; `bottom` is not part of it."""

    top: int
    bottom: int


def bands_of(width: int, height: int, tiling: Tiling, across: int) -> list[Band]:
    """The bands of a page, from top to bottom; a single one where the page is shown well enough.

    Args:
        width: of the page in pixels.
        height: of the page in pixels.
        tiling: how the model cuts pictures.
        across: tiles that the page's width is shown by at least, where the page is long.
    """
    most = band_height(width, tiling, across)
    grid = tiling.grid(width, height)
    canvas = tiling.canvas(grid)
    shown = min(canvas[0] / width, canvas[1] / height)
    if height <= most or shown >= min(1.0, across * tiling.tile_size / width):
        return [Band(0, height)]
    overlap = most // _OVERLAP
    count = min(math.ceil((height - overlap) / (most - overlap)), MAX_BANDS)
    tall = math.ceil((height + (count - 1) * overlap) / count)
    step = (height - tall) / (count - 1)
    tops = [round(index * step) for index in range(count)]
    return [Band(top, min(top + tall, height)) for top in tops]


def band_height(width: int, tiling: Tiling, across: int) -> int:
    """How tall a band of this width may be to be shown `across` tiles wide or in full size."""
    widest = max(columns for columns, _ in tiling.candidates)
    scale = min(1.0, min(across * tiling.tile_size, widest) / width)
    fitting = [rows for columns, rows in tiling.candidates if columns >= math.floor(scale * width)]
    return max(8, math.floor(max(fitting) / scale))


def join_texts(texts: Sequence[str], bands: Sequence[Band]) -> str:
    """The text of a page from those of its bands.

    Where the last lines of a band are the first lines of the next one, they are kept once; the
    longest such run is taken, of at most as many lines as an overlap may hold. Lines count as the
    same when they differ by little. Of the upper band the very last line, of the lower one the
    very first may be torn and is passed over, if the lines beyond it are the same.
    """
    joined: list[str] = []
    for index, text in enumerate(texts):
        lines = text.strip("\n").splitlines()
        if index == 0:
            joined = lines
            continue
        share = (bands[index - 1].bottom - bands[index].top) / (
            bands[index].bottom - bands[index].top
        )
        joined = join_lines(joined, lines, share, len(texts[index - 1].splitlines()))
    return "\n".join(joined)


def join_lines(upper: list[str], lower: list[str], share: float, above: int) -> list[str]:
    """Put two runs of lines together, the lines that both have only once.

    Args:
        upper: everything above, down to the end of the upper band.
        lower: lines of the lower band.
        share: of a band's height that lies in both.
        above: lines of the upper band alone.
    """
    ends = [index for index, line in enumerate(upper) if line.strip()]
    starts = [index for index, line in enumerate(lower) if line.strip()]
    most = math.ceil(share * max(above, len(lower))) + 2
    best = (0, 0, 0)
    for torn_above in range(min(2, len(ends))):
        for torn_below in range(min(2, len(starts))):
            kept, rest = ends[: len(ends) - torn_above], starts[torn_below:]
            run = _longest_run([upper[i] for i in kept], [lower[i] for i in rest], most)
            best = max(best, (run, -torn_above, -torn_below))
    run, torn_above, torn_below = best[0], -best[1], -best[2]
    if run == 0:
        return upper + lower
    return upper[: ends[-1 - torn_above] + 1] + lower[starts[torn_below + run - 1] + 1 :]


def join_boxes(found: Sequence[Sequence[Box]], bands: Sequence[Band]) -> list[Box]:
    """Boxes in pixels of the page from those of its bands; what two bands saw is kept once.

    Two boxes of one label from neighbouring bands are one thing if they cover each other by half
    (intersection over union); the larger is kept, for the other may be cut by an edge.
    """
    kept: list[Box] = []
    before: list[Box] = []
    for boxes, band in zip(found, bands, strict=True):
        now = [
            Box(box.label, box.x1, box.y1 + band.top, box.x2, box.y2 + band.top) for box in boxes
        ]
        for box in now:
            twin = next((other for other in before if _same(box, other)), None)
            if twin is None:
                kept.append(box)
            elif _area(box) > _area(twin):
                kept[kept.index(twin)] = box
        before = now
    return kept


def _longest_run(upper: Sequence[str], lower: Sequence[str], most: int) -> int:
    for run in range(min(most, len(upper), len(lower)), 0, -1):
        tail = upper[len(upper) - run :]
        if all(alike(a, b) for a, b in zip(tail, lower[:run], strict=True)):
            return run
    return 0


def alike(a: str, b: str) -> bool:
    """Whether two lines are the same but for spaces and a few characters."""
    a, b = " ".join(a.split()), " ".join(b.split())
    if a == b:
        return True
    if max(len(a), len(b)) > _LONGEST_COMPARED or min(len(a), len(b)) < 0.5 * max(len(a), len(b)):
        return False
    # Digits tell lines of a table or a list apart, where most other characters are the same.
    if [c for c in a if c.isdigit()] != [c for c in b if c.isdigit()]:
        return False
    return SequenceMatcher(None, a, b, autojunk=False).ratio() >= _ALIKE


def _same(a: Box, b: Box) -> bool:
    wide = min(a.x2, b.x2) - max(a.x1, b.x1)
    tall = min(a.y2, b.y2) - max(a.y1, b.y1)
    shared = max(wide, 0.0) * max(tall, 0.0)
    return a.label == b.label and shared > _SAME_BOX * (_area(a) + _area(b) - shared)


def _area(box: Box) -> float:
    return (box.x2 - box.x1) * (box.y2 - box.y1)
