"""Pictures that the page shows: with their tiles, and with the boxes of an answer."""

from __future__ import annotations

import html
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
from PIL import ImageDraw

from vl2 import grounding
from vl2.chat import as_conversation
from vl2.engine import Assistant
from vl2.errors import ImageError
from vl2.grounding import Box
from vl2.processing.building import choose_grids
from vl2.processing.images import Limits, letterbox, open_image
from vl2.processing.template import encode, lay_out
from vl2.processing.tiling import Grid, Tiling
from vl2.server.page.talk import Talk

_LONGEST_SIDE = 1000
_LARGEST_SHOWN = 1600
_MARGIN = (200, 203, 209)
_LINE = (0, 119, 230)
_WHITE = (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Cut:
    """How the pictures of a conversation are cut. Each page keeps one, so it holds no pixels.

    Attributes:
        paths: where they are.
        max_tiles: at most so many tiles each.
        counts: tokens of each.
        lines: what there is to say about each.
    """

    paths: tuple[str, ...] = ()
    max_tiles: int = 0
    counts: tuple[int, ...] = ()
    lines: tuple[str, ...] = ()


def read(path: str) -> bytes:
    """The bytes of a picture that was uploaded.

    Raises:
        ImageError: it has been removed since.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise ImageError(f"{Path(path).name} is no longer on the server: add it again.") from error


def opened(path: str, limits: Limits) -> PIL.Image.Image:
    """A picture; an error names it as the person knows it.

    Raises:
        ImageError: it cannot be opened.
    """
    encoded = read(path)
    try:
        return open_image(encoded, limits=limits)
    except ImageError as error:
        raise ImageError(f"{Path(path).name}: {error}") from error


def cut(
    paths: Sequence[str], max_tiles: int, assistant: Assistant, limits: Limits
) -> tuple[Cut, list[tuple[PIL.Image.Image, str]]]:
    """How the pictures of a conversation are cut.

    Returns:
        What there is to know about it, and each picture with its grid and its name.

    Raises:
        ImageError: one of them cannot be opened.
    """
    tiling = assistant.processor.tiling.limited(max_tiles)
    images = [opened(path, limits) for path in paths]
    grids = choose_grids([image.size for image in images], tiling)
    counts = tuple(map(tiling.tokens, grids))
    shown = [
        (with_tiles(image, grid, tiling), f"Picture {number}")
        for number, (image, grid) in enumerate(zip(images, grids, strict=True), start=1)
    ]
    lines = tuple(
        _line(number, image, grid, count)
        for number, (image, grid, count) in enumerate(zip(images, grids, counts, strict=True), 1)
    )
    return Cut(tuple(paths), max_tiles, counts, lines), shown


def summary(talk: Talk, system: str, cut: Cut, assistant: Assistant) -> str:
    """How many tokens a conversation takes.

    Args:
        talk: the conversation, the question that is not sent yet included.
        system: what the model is told first.
        cut: its pictures.
        assistant: the model that would read it.

    Raises:
        ConversationError: there is no question.
    """
    vocabulary = assistant.processor.vocabulary
    stand_ins = [PIL.Image.new("RGB", (1, 1)) for _ in cut.counts]
    conversation = as_conversation(talk.messages(system), stand_ins)
    pieces = lay_out(conversation, vocabulary, generate=True)
    total = len(encode(pieces, vocabulary, cut.counts).token_ids)
    left = assistant.engine.context - total
    room = f"{left} are left for the answer" if left > 0 else "that is too many"
    pictures = sum(cut.counts)
    return "\n".join(
        (
            f"**{total} of {assistant.engine.context} tokens**: pictures {pictures}, "
            f"text {total - pictures}; {room}.",
            "",
            *(f"* {line}" for line in cut.lines),
        )
    )


def _line(number: int, image: PIL.Image.Image, grid: Grid, count: int) -> str:
    tiles = "1 tile" if grid.n_tiles == 2 else f"{grid.columns} x {grid.rows} tiles"
    return (
        f"Picture {number}, {image.width} x {image.height} pixels: {tiles} and the whole in one, "
        f"{count} tokens"
    )


def with_tiles(image: PIL.Image.Image, grid: Grid, tiling: Tiling) -> PIL.Image.Image:
    """A picture as it is cut: fitted into its grid, with the edges of the tiles."""
    width, height = tiling.canvas(grid)
    side = round(tiling.tile_size * _LONGEST_SIDE / max(width, height))
    canvas = letterbox(image, (side * grid.columns, side * grid.rows), _MARGIN)
    pen = ImageDraw.Draw(canvas)
    for colour, thick in ((_WHITE, 13), (_LINE, 7)):
        for column in range(grid.columns + 1):
            x = min(column * side, canvas.width - 1)
            pen.line((x, 0, x, canvas.height), colour, thick)
        for row in range(grid.rows + 1):
            y = min(row * side, canvas.height - 1)
            pen.line((0, y, canvas.width, y), colour, thick)
    return canvas


def with_boxes(
    path: str, boxes: Sequence[Box], limits: Limits
) -> tuple[PIL.Image.Image, tuple[Box, ...]]:
    """The picture that an answer points into, with its boxes and their labels.

    Returns:
        The picture, scaled down if it is large, and the boxes in its pixels.
    """
    image = opened(path, limits)
    scale = min(1.0, _LARGEST_SHOWN / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    scaled = tuple(
        Box(box.label, *(float(value * scale) for value in box.corners)) for box in boxes
    )
    with warnings.catch_warnings():
        # What no font shows is spelled out, and the line about a box has it in letters.
        warnings.simplefilter("ignore", grounding.MissingGlyphWarning)
        return grounding.draw(image.resize(size), scaled), scaled


def box_at(boxes: Sequence[Box], x: float, y: float) -> Box | None:
    """The smallest box around a point, if there is one."""
    around = [box for box in boxes if box.x1 <= x <= box.x2 and box.y1 <= y <= box.y2]
    return min(around, key=lambda b: (b.x2 - b.x1) * (b.y2 - b.y1), default=None)


def told(box: Box | None) -> str:
    """A box in words, or what to do to see one."""
    if box is None:
        return "Click on a box to see its text."
    corners = ", ".join(map(str, box.whole))
    label = html.escape(box.label) or "(no text)"
    return f"**{label}** at {corners} (left, top, right, bottom in pixels)"
