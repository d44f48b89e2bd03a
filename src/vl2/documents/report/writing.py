"""The report of a folder of results: pages as pictures, boxes on them, and what was read.

All that comes from documents and models is text here: it is escaped, the page may load nothing but
pictures beside it, and runs no script but its own (by its hash).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vl2.documents import files
from vl2.documents.copies import Bare, bare
from vl2.documents.desk import DOCUMENTS
from vl2.documents.index import read_index
from vl2.documents.report.look import CSS, SCRIPT
from vl2.documents.report.sheet import safe, sheet, values
from vl2.documents.results import RESULT

REPORT = "report.html"
MAX_PAGES = 3000
"""Pages that the report shows; more would be slow to open. The rest is in the index."""

_STATES = {
    "ok": "fine",
    "look": "to look at",
    "partial": "read in part",
    "error": "not read",
}
"""What the colours of documents mean."""

MAX_LOST = 20
"""Pages of a document that are shown though they could not be read."""


def write_report(out: Path) -> Path:
    """Write the report of everything that a folder's index lists; returns its file."""
    rows = _rows(out)
    shown = list(_shown(rows))
    with files.whole(out / REPORT) as file:
        for part in _parts(out, rows, shown):
            file.write(part.encode("utf-8", "replace"))
    return out / REPORT


def without_copies(out: Path) -> list[Bare]:
    """Documents that the report would show without pictures, and of which some can be made."""
    return [
        document
        for group in _shown(_rows(out))
        if (folder := group[0]["folder"])
        for document in bare(
            out / DOCUMENTS / folder, [Path(row["path"]) for row in group], group[0]["sha256"]
        )
    ]


def _rows(out: Path) -> list[dict[str, Any]]:
    return sorted(read_index(out), key=lambda row: (row["path"], row["folder"]))


def _shown(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Documents until there are enough pages, at least one; those of one content together."""
    alike: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        alike.setdefault(row["folder"] or f"/{row['path']}", []).append(row)
    pages = 0
    for group in alike.values():
        before, pages = pages, pages + max(group[0]["read"], 1)
        if before and pages > MAX_PAGES:
            return
        yield group


def _parts(
    out: Path, rows: list[dict[str, Any]], shown: list[list[dict[str, Any]]]
) -> Iterator[str]:
    pages = sum(row["read"] for row in rows)
    wrong = sum(row["status"] != "ok" for row in rows)
    flags = sum(row["flags"] for row in rows)
    told = f"documents: {len(rows)}, with errors: {wrong}; pages: {pages}, to look at: {flags}"
    if (count := sum(map(len, shown))) < len(rows):
        told += f"; documents shown: {count}, the index lists all"
    legend = "".join(f"<span>{_dot(state)}{told}</span>" for state, told in _STATES.items())
    yield (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f'<meta http-equiv="Content-Security-Policy" content="{_policy()}">'
        '<meta name=viewport content="width=device-width">'
        f"<title>vl2 read: {len(rows)}</title><style>{CSS}</style>"
        f"<header><h1>vl2 read</h1><p>{told}</p>"
        '<input type=search placeholder="Search names, texts, fields" aria-label=Search>'
        "<span class=filters><button data-show=all aria-pressed=true>all</button>"
        "<button data-show=error aria-pressed=false>errors</button>"
        "<button data-show=flag aria-pressed=false>to look at</button></span>"
        "<span id=count></span></header><div class=frame><nav>"
        f"<p class=legend>{legend}</p>"
    )
    for number, (row, *_) in enumerate(shown):
        name = safe(_name(row))
        yield (
            f'<a href="#d{number}" title="{name}">{_dot(_state(row))}'
            f"<span>{name}</span><small>{row['read']}</small></a>"
        )
    yield "</nav><main>"
    for number, group in enumerate(shown):
        yield from _section(out, number, group)
    yield f"</main></div><script>{SCRIPT}</script>"


def _state(row: dict[str, Any]) -> str:
    """Of a document: its status, unless it is fine but for pages to look at."""
    return "look" if row["status"] == "ok" and row["flags"] else row["status"]


def _dot(state: str) -> str:
    """The colour of a document, with its meaning for who points at it."""
    return f'<i class="dot {safe(state)}" title="{safe(_STATES.get(state, state))}"></i>'


def _policy() -> str:
    hashed = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    styled = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src 'self' file:; style-src 'sha256-{styled}'; "
        f"script-src 'sha256-{hashed}'; base-uri 'none'; form-action 'none'"
    )


def _section(out: Path, number: int, group: list[dict[str, Any]]) -> Iterator[str]:
    """A document; the files that hold it are `group`."""
    row, *others = group
    name = safe(_name(row))
    names = safe("\n".join(map(_name, group)))
    state = "" if row["status"] == "ok" else "error"
    error = f"<p class=bad>{safe(row['error'])}</p>" if row["error"] else ""
    yield (
        f'<section id=d{number} data-name="{names}" data-state="{state}">'
        f"<h2>{name}</h2><p class=about>{safe(_about(row))}"
    )
    if others:
        yield f"<br>the same as {safe(', '.join(other['path'] for other in others))}<br>"
    place = out / DOCUMENTS / row["folder"]
    result = files.read_json(place / RESULT, _is_result) if row["folder"] else None
    if result is None:
        yield f"</p>{error}</section>"
        return
    if any(page["error"] == row["error"] for page in result["pages"][:MAX_PAGES]):
        error = ""  # it is said of its page
    folder = f"{DOCUMENTS}/{quote(row['folder'])}"
    yield f' <a href="{folder}/{RESULT}">{RESULT}</a></p>{error}'
    if len(result["pages"]) > 1 and isinstance(result.get("fields"), dict):
        yield f"<div class=whole><h3>Fields of the document</h3>{values(result['fields'])}</div>"
    yield from _sheets(result["pages"], folder, number)
    yield "</section>"


def _sheets(pages: list[dict[str, Any]], folder: str, number: int) -> Iterator[str]:
    """Pages of a document; of those that could not be read only the first ones."""
    lost = 0
    for page in pages[:MAX_PAGES]:
        lost += page["error"] is not None
        if page["error"] is None or lost <= MAX_LOST:
            yield sheet(page, folder, f"d{number}p{page['page']}")
    if lost > MAX_LOST:
        yield f"<p class=bad>{lost - MAX_LOST} more pages could not be read; {RESULT} has them.</p>"
    if len(pages) > MAX_PAGES:
        yield f"<p>{len(pages) - MAX_PAGES} more pages are in {RESULT}.</p>"


def _is_result(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    return isinstance(value, dict) and isinstance(value.get("pages"), list)


def _name(row: dict[str, Any]) -> str:
    return Path(row["path"]).name


def _about(row: dict[str, Any]) -> str:
    read = f"pages {row['read']} of {row['pages']}"
    tokens = row["prompt_tokens"] + row["completion_tokens"]
    return f"{row['path']} · {row['status']} · {read} · {tokens} tokens"
