"""A page of a document in the report: its picture with boxes, and beside it what was read."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

COLOURS = 6
MAX_TEXT = 20_000
MAX_ROWS = 200
"""What is longer is shortened here; the result file has all of it."""


_UNPARSED = {
    "fields": "Answer that is no JSON object",
    "tables": "Answer without a table",
}


def safe(value: object) -> str:
    """Text that is only text, also inside an attribute's quotes."""
    written = str(value)
    if len(written) > MAX_TEXT:
        written = f"{written[:MAX_TEXT]} ..."
    return html.escape(written)


def sheet(page: dict[str, Any], folder: str, name: str) -> str:
    """A page as it is in a result file.

    Args:
        page: its entry.
        folder: where its picture is, as a link.
        name: unique in the report.
    """
    state = " ".join(
        word for word, holds in (("error", page["error"]), ("flag", page["flags"])) if holds
    )
    return (
        f'<article id={name} data-state="{state}">{_figure(page, folder, name)}'
        f"<div>{''.join(_findings(page, name))}</div></article>"
    )


def _figure(page: dict[str, Any], folder: str, name: str) -> str:
    caption = f"page {page['page']}"
    if page["bands"] > 1:
        caption += f", read in {page['bands']} bands"
    why = "" if page["error"] else " was kept, and the file is gone or was changed"
    picture = f"<p class=none>no picture{why}</p>"
    if page["picture"]:
        width, height = int(page["width"]), int(page["height"])
        source = f"{folder}/{quote(page['picture'])}"
        rectangles = "".join(_rectangles(page, name))
        picture = (
            f'<div><a href="{source}"><img loading=lazy src="{source}" alt="{caption}" '
            f"width={width} height={height}></a>"
            f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio=none>{rectangles}</svg></div>'
        )
    return f"<figure><div class=sheet>{picture}</div><figcaption>{caption}</figcaption></figure>"


def _findings(page: dict[str, Any], name: str) -> Iterator[str]:
    yield from _troubles(page)
    if page["fields"] is not None:
        yield f"<h3>Fields</h3>{values(page['fields'])}"
    boxes = list(_boxes(page))
    if page["boxes"]:
        yield f"<h3>Boxes</h3><ul>{''.join(_items(boxes, name, 'boxes'))}</ul>"
    for answer in page["answers"]:
        yield (
            f"<h3>{safe(answer['question'])}</h3><blockquote>{_said(answer['answer'])}</blockquote>"
        )
    if any(answer["boxes"] for answer in page["answers"]):
        yield f"<ul>{''.join(_items(boxes, name, 'answers'))}</ul>"
    for number, table in enumerate(page["tables"] or (), 1):
        yield f"<h3>Table {number}</h3><div class=wide>{_table(table)}</div>"
    if page["text"] is not None:
        origin = ", from the PDF's text layer" if page["text_from"] == "text layer" else ""
        yield f"<h3>Text{origin}</h3>{_said(page['text'])}"
    if page["markdown"] is not None:
        yield f"<h3>Markdown</h3>{_said(page['markdown'])}"
    if page["text_layer"] is not None:
        share = "" if page["agreement"] is None else f", agrees by {page['agreement']:.0%}"
        yield (
            f"<details><summary>text layer of the PDF{share}</summary>"
            f"{_said(page['text_layer'])}</details>"
        )


def _troubles(page: dict[str, Any]) -> Iterator[str]:
    """What was wrong with a page and with the answers about it."""
    if page["error"]:
        yield f"<p class=bad>{safe(page['error'])}</p>"
    yield from (f"<span class=flag>{safe(flag)}</span>" for flag in page["flags"])
    for answer in page.get("unparsed", ()):  # results of earlier versions have none
        yield f"<h3>{_UNPARSED[answer['task']]}</h3>{_said(answer['answer'])}"


def _said(text: str) -> str:
    return f"<pre>{safe(text)}</pre>" if text.strip() else "<p class=none>nothing</p>"


def _boxes(page: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All boxes of a page, with the list that they are in."""
    yield from (("boxes", box) for box in page["boxes"])
    yield from (("answers", box) for answer in page["answers"] for box in answer["boxes"])


def _coloured(boxes: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[tuple[int, str, dict]]:
    """A colour for each phrase or label."""
    colours: dict[str, int] = {}
    for kind, box in boxes:
        wanted = box.get("phrase", box["label"])
        yield colours.setdefault(wanted, len(colours) % COLOURS), kind, box


def _rectangles(page: dict[str, Any], name: str) -> Iterator[str]:
    for number, (colour, _, box) in enumerate(_coloured(_boxes(page))):
        x1, y1, x2, y2 = map(float, box["box"])
        yield (
            f'<rect id={name}b{number} class=c{colour} x="{x1:g}" y="{y1:g}" '
            f'width="{x2 - x1:g}" height="{y2 - y1:g}">'
            f"<title>{safe(box.get('phrase', box['label']))}</title></rect>"
        )


def _items(boxes: list[tuple[str, dict[str, Any]]], name: str, kind: str) -> Iterator[str]:
    for number, (colour, of, box) in enumerate(_coloured(boxes)):
        if of == kind:
            corners = ", ".join(f"{float(value):.0f}" for value in box["box"])
            yield (
                f"<li data-box={name}b{number}><svg class=key viewBox='0 0 10 10'>"
                f"<rect class=c{colour} x=1 y=1 width=8 height=8 /></svg>"
                f"{safe(box.get('phrase', box['label']))} <span class=none>{corners}</span></li>"
            )


def values(held: dict[str, Any]) -> str:
    """A JSON object as a table of names and values."""
    rows = "".join(f"<tr><th>{safe(name)}<td>{_value(value)}" for name, value in held.items())
    return f"<table class=fields>{rows}</table>"


def _value(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if value is None:
        return "<span class=none>not on the page</span>"
    if isinstance(value, str | int | float):
        return safe(value)
    if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
        names = list(dict.fromkeys(name for entry in value for name in entry))
        return _table([names, *([_cell(entry.get(name)) for name in names] for entry in value)])
    return safe(json.dumps(value, ensure_ascii=False))


def _cell(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(rows: list[list[str]]) -> str:
    head = "".join(f"<th>{safe(cell)}" for cell in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{safe(cell)}" for cell in row) for row in rows[1:MAX_ROWS]
    )
    return f"<table><tr>{head}{body}</table>"
