"""What a reading gave: of a page, of a document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeAlias

from vl2.documents.readers import Usage
from vl2.documents.tables import Table

Status: TypeAlias = Literal["ok", "partial", "error"]
"""Of a document: all pages were read, some, or none."""

RESULT = "result.json"


@dataclass(frozen=True, slots=True)
class PageResult:
    """What a page gave. What was not asked for is None or empty.

    Attributes:
        page: its number, from 1.
        error: why it could not be read.
        width: of its picture in pixels, which boxes are in.
        height: of its picture.
        picture: name of the file of a smaller copy.
        bands: how many the model read it in (`vl2.documents.bands`).
        text: of the page.
        text_from: `model` or `text layer`.
        markdown: the page as Markdown.
        tables: rows of cells each.
        fields: the JSON object.
        unparsed: answers without the JSON object or the table that was asked for, as they were
            written; the task (`fields` or `tables`) and the answer each.
        answers: question and answer each, boxes that the answer points at.
        boxes: phrase, label and corners in pixels each.
        text_layer: what the PDF says itself, if it was compared.
        agreement: of text and text layer, 0 to 1.
        flags: what somebody should look at.
        usage: tokens of all questions about the page.
    """

    page: int
    error: str | None = None
    width: int = 0
    height: int = 0
    picture: str | None = None
    bands: int = 1
    text: str | None = None
    text_from: str | None = None
    markdown: str | None = None
    tables: list[Table] | None = None
    fields: dict[str, Any] | None = None
    unparsed: list[dict[str, str]] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    boxes: list[dict[str, Any]] = field(default_factory=list)
    text_layer: str | None = None
    agreement: float | None = None
    flags: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)

    def as_dict(self) -> dict[str, Any]:
        """The page as JSON shows it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PageResult:
        """The inverse.

        Raises:
            TypeError, KeyError: it is none.
        """
        given: dict[str, Any] = {**values, "usage": Usage(**values["usage"])}
        return cls(**given)

    @classmethod
    def fits(cls, values: object) -> bool:
        """Whether a JSON value has the fields of a page."""
        return isinstance(values, dict) and set(values) == {entry.name for entry in fields(cls)}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one document, in short: a line of the index.

    Attributes:
        path: the file, as it was named.
        folder: of its result, below the folder of documents; empty if there is none.
        status: `ok`, `partial` or `error`; `failed` if the engine failed and nothing was kept.
        error: the first thing that went wrong.
        pages: that the document has.
        read: pages that were read.
        flags: pages that somebody should look at.
        fields: the JSON object of the document.
        usage: tokens.
        digest: SHA-256 of the file.
    """

    path: str
    folder: str
    status: str
    error: str | None = None
    pages: int = 0
    read: int = 0
    flags: int = 0
    fields: dict[str, Any] | None = None
    usage: Usage = field(default_factory=Usage)
    digest: str = ""


def outcome_of(result: dict[str, Any], path: str, folder: str) -> Outcome:
    """A result file in short.

    Raises:
        KeyError, TypeError: it is none.
    """
    pages = result["pages"]
    first = next((page["error"] for page in pages if page["error"]), None)
    return Outcome(
        path,
        folder,
        result["status"],
        result["error"] or first,
        result["pages_in_document"],
        sum(page["error"] is None for page in pages),
        sum(bool(page["flags"]) for page in pages),
        result["fields"],
        Usage(**result["usage"]),
        result["sha256"],
    )


def status_of(pages: Sequence[PageResult]) -> Status:
    """`error` if no page was read, `partial` if one was not."""
    failed = sum(page.error is not None for page in pages)
    if failed == len(pages):
        return "error"
    return "partial" if failed else "ok"


def merged(values: Iterable[dict[str, Any] | None]) -> dict[str, Any] | None:
    """One JSON object from those of several pages or bands.

    The first one that says something about a name counts; lists are put together. Empty are null,
    blank texts, and lists and objects without anything in them.
    """
    result: dict[str, Any] | None = None
    for value in values:
        if value is None:
            continue
        if result is None:
            result = dict(value)
            continue
        for name, entry in value.items():
            held = result.get(name)
            if isinstance(held, list) and isinstance(entry, list):
                result[name] = held + entry
            elif _empty(held):
                result[name] = entry
    return result


def _empty(value: object) -> bool:
    return value is None or value in ([], {}) or (isinstance(value, str) and not value.strip())
