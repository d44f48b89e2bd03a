"""One page: everything that is asked about it becomes a `PageResult`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import PIL.Image

from vl2 import grounding
from vl2.documents.agreement import DISAGREES, agreement
from vl2.documents.bands import Band, bands_of, join_boxes, join_texts
from vl2.documents.readers import Reader, Reply
from vl2.documents.rendering.renderer import Sheet
from vl2.documents.results import PageResult, merged
from vl2.documents.settings import Settings
from vl2.documents.tables import join_tables, parse_tables
from vl2.documents.tasks import Task

CUT = "an answer was cut at its limit of tokens"
DISAGREEMENT = "reading and text layer disagree"
NO_JSON = "an answer is no JSON object"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the model said about each band of a page, from top to bottom."""

    task: Task
    replies: tuple[Reply, ...]
    bands: tuple[Band, ...]
    width: int


def read_page(number: int, sheet: Sheet, reader: Reader, settings: Settings) -> PageResult:
    """Ask everything about a page.

    Args:
        number: of the page.
        sheet: its picture and text layer.
        reader: who reads.
        settings: what is asked.

    Raises:
        RefusedError: the page cannot be asked about.
        VL2Error: the reader failed, which is no fault of the page.
    """
    result = PageResult(number, width=sheet.picture.width, height=sheet.picture.height)
    layer = sheet.text if settings.text_layer != "ignore" else None
    tasks = settings.tasks
    if layer is not None and settings.text_layer == "prefer":
        tasks = tuple(task for task in tasks if task.kind != "text")
        if len(tasks) < len(settings.tasks):
            result = replace(result, text=layer, text_from="text layer")
    if tasks:
        result = _asked(result, sheet.picture, tasks, reader, settings)
    if layer is not None and settings.text_layer == "compare":
        result = _compared(result, layer)
    return replace(result, flags=list(dict.fromkeys(result.flags)))


def _asked(
    result: PageResult,
    picture: PIL.Image.Image,
    tasks: Sequence[Task],
    reader: Reader,
    settings: Settings,
) -> PageResult:
    """Add what the model says, band by band."""
    bands = tuple(bands_of(*picture.size, reader.tiling, settings.across))
    result = replace(result, bands=len(bands))
    pieces = [_cut(picture, band) for band in bands]
    for task in tasks:
        replies = tuple(
            reader.read(piece, task.prompt, settings.max_tokens, task.schema) for piece in pieces
        )
        result = _noted(result, replies)
        result = _TAKERS[task.kind](result, Reading(task, replies, bands, picture.width))
    return result


def _cut(picture: PIL.Image.Image, band: Band) -> PIL.Image.Image:
    if (band.top, band.bottom) == (0, picture.height):
        return picture
    return picture.crop((0, band.top, picture.width, band.bottom))


def _noted(result: PageResult, replies: Sequence[Reply]) -> PageResult:
    """Count the tokens, and flag what was cut."""
    usage = sum((reply.usage for reply in replies), result.usage)
    flags = [CUT] if any(reply.cut for reply in replies) else []
    return replace(result, usage=usage, flags=result.flags + flags)


def _texts(reading: Reading) -> list[str]:
    return [grounding.strip(reply.text) for reply in reading.replies]


def _text(result: PageResult, reading: Reading) -> PageResult:
    joined = join_texts(_texts(reading), reading.bands)
    return replace(result, text=joined, text_from="model")


def _markdown(result: PageResult, reading: Reading) -> PageResult:
    return replace(result, markdown=join_texts(_texts(reading), reading.bands))


def _tables(result: PageResult, reading: Reading) -> PageResult:
    tables = join_tables([parse_tables(text) for text in _texts(reading)])
    kept = result if tables else _unparsed(result, reading, reading.replies)
    return replace(kept, tables=tables)


def _fields(result: PageResult, reading: Reading) -> PageResult:
    objects = [_object(reply.text) for reply in reading.replies]
    lost = [reply for reply, held in zip(reading.replies, objects, strict=True) if held is None]
    # What was cut is flagged already, and could hardly be JSON.
    flags = [NO_JSON] if any(not reply.cut for reply in lost) else []
    kept = _unparsed(result, reading, lost)
    return replace(kept, fields=merged(objects), flags=result.flags + flags)


def _unparsed(result: PageResult, reading: Reading, replies: Iterable[Reply]) -> PageResult:
    """Keep answers as they were written."""
    said = [{"task": reading.task.kind, "answer": reply.text} for reply in replies]
    return replace(result, unparsed=result.unparsed + said)


def _answers(result: PageResult, reading: Reading) -> PageResult:
    """The answer; where bands answer differently, a paragraph each."""
    said = "\n\n".join(dict.fromkeys(text.strip() for text in _texts(reading)))
    answer = {
        "question": reading.task.about,
        "answer": said,
        "boxes": [box.as_dict() for box in _boxes_in(reading)],
    }
    return replace(result, answers=[*result.answers, answer])


def _boxes(result: PageResult, reading: Reading) -> PageResult:
    found = [{"phrase": reading.task.about, **box.as_dict()} for box in _boxes_in(reading)]
    return replace(result, boxes=result.boxes + found)


_TAKERS: dict[str, Callable[[PageResult, Reading], PageResult]] = {
    "text": _text,
    "markdown": _markdown,
    "tables": _tables,
    "fields": _fields,
    "ask": _answers,
    "locate": _boxes,
}


def _boxes_in(reading: Reading) -> list[grounding.Box]:
    found = [
        grounding.parse(reply.text, reading.width, band.bottom - band.top)
        for reply, band in zip(reading.replies, reading.bands, strict=True)
    ]
    return join_boxes(found, reading.bands)


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object that an answer is, also inside a fence of Markdown; None if it is none."""
    bare = text.strip()
    if bare.startswith("```"):
        bare = bare.partition("\n")[2].rpartition("```")[0]
    try:
        value = json.loads(bare)
        json.dumps(value, allow_nan=False)  # numbers like 1e999 become infinite, which is no JSON
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _compared(result: PageResult, layer: str) -> PageResult:
    reading = result.text if result.text is not None else result.markdown
    if reading is None:
        return replace(result, text_layer=layer)
    share = round(agreement(reading, layer), 4)
    flags = [DISAGREEMENT] if share < DISAGREES else []
    return replace(result, text_layer=layer, agreement=share, flags=result.flags + flags)
