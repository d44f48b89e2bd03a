"""Rendered documents read as `vl2 read` reads them, and how much of the truth came out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vl2.documents import files
from vl2.documents.desk import DOCUMENTS, Desk
from vl2.documents.readers import Reader
from vl2.documents.results import RESULT, Outcome
from vl2.documents.run import plan, run
from vl2.documents.settings import Settings
from vl2.documents.tables import Table, to_html
from vl2.documents.tasks import Task, read_fields, read_tables
from vl2.errors import EngineError
from vl2.evals.documents.papers import Paper, paper
from vl2.evals.metrics.tables import teds

PAPERS, TRUTH = "papers", "truth.json"
MAX_TOKENS = 768


@dataclass(frozen=True, slots=True)
class Score:
    """How a model did on one kind of document.

    Attributes:
        kind: of document.
        documents: that were read.
        failed: those of them that gave nothing, which count as wrong.
        right: fields that came out exactly, but for spaces and letter case.
        fields: fields that there were.
        tables: mean similarity (TEDS) of the tables, 0 to 1; None for kinds without.
    """

    kind: str
    documents: int
    failed: int
    right: int
    fields: int
    tables: float | None


def render(out: Path, kind: str, count: int) -> dict[Path, Paper]:
    """Save the documents of a kind, of several pages as TIFF; returns them by file."""
    folder = out / PAPERS / kind
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[Path, Paper] = {}
    for seed in range(count):
        one = paper(kind, seed)
        first, *rest = one.pages
        path = folder / f"{kind}-{seed:04d}.{'tif' if rest else 'png'}"
        if not path.exists():
            with files.whole(path) as file:
                options: dict[str, Any] = {"save_all": True, "append_images": rest} if rest else {}
                first.save(file, "TIFF" if rest else "PNG", **options)
        made[path] = one
    truth = {path.name: {"fields": p.fields, "table": p.table} for path, p in made.items()}
    files.write_json(folder / TRUTH, truth)
    return made


def tasks_of(kind: str) -> tuple[Task, ...]:
    """What is asked about documents of a kind: its fields, its table."""
    example = paper(kind, 0)
    fields = (read_fields(list(example.fields)),) if example.fields else ()
    return (*fields, read_tables()) if example.table is not None else fields


def measure(
    out: Path,
    kind: str,
    count: int,
    settings: Callable[[tuple[Task, ...]], Settings],
    reader: Reader,
    on_document: Callable[[Outcome], None] | None = None,
    parallel: int = 8,
) -> tuple[Score, list[Outcome]]:
    """Read the first `count` documents of a kind and compare.

    Args:
        out: folder for documents and results; what it holds is not read again.
        kind: of document.
        count: documents.
        settings: makes the settings for some tasks.
        reader: who reads; it is not closed.
        on_document: told of each document when it is done.
        parallel: pages at once.

    Raises:
        EngineError: the reader failed on a document; run again to go on.
    """
    papers = render(out, kind, count)
    chosen = settings(tasks_of(kind))
    desk = Desk(_Kept(reader), chosen, out, parallel=parallel)
    try:
        outcomes = run(plan(papers, chosen, out), desk.read, parallel, on_document)
    finally:
        desk.close()
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        raise EngineError(f"{failed[0].path} could not be read: {failed[0].error}")
    found = ((papers[Path(o.path)], _result(out, o)) for o in outcomes)
    return score(kind, found), outcomes


def score(kind: str, found: Iterable[tuple[Paper, Mapping[str, Any]]]) -> Score:
    """Compare results with what the documents say."""
    documents = failed = right = fields = 0
    similarities: list[float] = []
    for one, result in found:
        documents += 1
        failed += result["status"] == "error"
        said = result["fields"] or {}
        right += sum(_same(value, said.get(name)) for name, value in one.fields.items())
        fields += len(one.fields)
        if one.table is not None:
            similarities.append(similarity(one.table, result["pages"]))
    mean = sum(similarities) / len(similarities) if similarities else None
    return Score(kind, documents, failed, right, fields, mean)


def similarity(truth: Table, pages: Iterable[Mapping[str, Any]]) -> float:
    """TEDS of the table that comes closest to the truth among all that were read."""
    tables = [table for page in pages for table in page["tables"] or ()]
    return max((teds(to_html(table), to_html(truth)) for table in tables), default=0.0)


def _same(truth: str, said: object) -> bool:
    return isinstance(said, str) and _plain(said) == _plain(truth)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _result(out: Path, outcome: Outcome) -> dict[str, Any]:
    path = out / DOCUMENTS / outcome.folder / RESULT
    return json.loads(path.read_text(encoding="utf-8"))


class _Kept:
    """A reader that outlives a desk."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.identity, self.tiling, self.read = reader.identity, reader.tiling, reader.read

    def close(self) -> None:
        """The reader is needed for the next kind."""
