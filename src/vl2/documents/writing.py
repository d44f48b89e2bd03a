"""The folder of a document: text, Markdown, tables, and the result file, which comes last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vl2.documents import files
from vl2.documents.readers import Identity, Usage
from vl2.documents.results import RESULT, PageResult, merged, status_of
from vl2.documents.settings import FORMAT, Settings
from vl2.documents.tables import to_csv, to_markdown

TEXT, MARKDOWN, TABLES = "text.txt", "page.md", "tables.md"
PAGE_BREAK = "\f"


@dataclass(frozen=True, slots=True)
class Whole:
    """A document that has been read.

    Attributes:
        name: of its file.
        digest: SHA-256 of its bytes.
        count: pages that it has.
        pages: what was read, in order.
        error: why it could not be opened.
    """

    name: str
    digest: str
    count: int
    pages: Sequence[PageResult]
    error: str | None = None


def write_result(
    place: Path, whole: Whole, settings: Settings, identity: Identity
) -> dict[str, Any]:
    """Write everything about a document into its folder; returns what the result file says."""
    _write_texts(place, whole.pages)
    _write_tables(place, whole.pages)
    result = {
        "format": FORMAT,
        "document": whole.name,
        "sha256": whole.digest,
        "status": "error" if whole.error is not None else status_of(whole.pages),
        "error": whole.error,
        "model": asdict(_who(identity, whole.pages)),
        "settings": settings.as_dict(),
        "pages_in_document": whole.count,
        "usage": asdict(sum((page.usage for page in whole.pages), Usage())),
        "fields": merged(page.fields for page in whole.pages),
        "pages": [page.as_dict() for page in whole.pages],
    }
    files.write_json(place / RESULT, result)
    return result


def _who(identity: Identity, pages: Sequence[PageResult]) -> Identity:
    """Who read; of a model that was not asked the type of weights may not be known."""
    asked = any(page.usage.prompt_tokens for page in pages)
    return identity if asked else replace(identity, dtype=None)


def _write_texts(place: Path, pages: Sequence[PageResult]) -> None:
    texts = [page.text for page in pages]
    if any(text is not None for text in texts):
        files.write(place / TEXT, f"\n{PAGE_BREAK}".join(text or "" for text in texts) + "\n")
    marked = [page for page in pages if page.markdown is not None]
    if marked:
        parts = (f"<!-- page {page.page} -->\n\n{page.markdown}\n" for page in marked)
        files.write(place / MARKDOWN, "\n".join(parts))


def _write_tables(place: Path, pages: Sequence[PageResult]) -> None:
    """Each table as CSV, and all of them as Markdown."""
    parts = []
    for page in pages:
        for number, table in enumerate(page.tables or (), 1):
            files.write(place / f"table-{page.page:04d}-{number}.csv", to_csv(table))
            parts.append(f"<!-- page {page.page}, table {number} -->\n\n{to_markdown(table)}\n")
    if parts:
        files.write(place / TABLES, "\n".join(parts))
