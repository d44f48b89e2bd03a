"""The index: a row for each document that was ever read into a folder."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vl2.documents import files
from vl2.documents.results import Outcome
from vl2.errors import InputError

PARQUET, LINES = "index.parquet", "index.jsonl"
_ROWS_AT_ONCE = 4096

COLUMNS = {
    "path": "string",
    "folder": "string",
    "status": "string",
    "error": "string",
    "pages": "int64",
    "read": "int64",
    "flags": "int64",
    "fields": "string",
    "prompt_tokens": "int64",
    "image_tokens": "int64",
    "completion_tokens": "int64",
    "sha256": "string",
}
"""Names and types; `fields` is JSON text."""


def check_index(out: Path) -> None:
    """Refuse a folder whose index could not be added to, before anything is read.

    Raises:
        InputError: it is Parquet, and pyarrow is not installed.
    """
    if (out / PARQUET).exists() and importlib.util.find_spec("pyarrow") is None:
        raise InputError(
            f"{str(out / PARQUET)!r} can be added to with pyarrow only, which is not installed: "
            "pip install pyarrow, or name another folder."
        )


def write_index(out: Path, outcomes: Iterable[Outcome]) -> Path:
    """Write the index anew: Parquet where pyarrow is installed, else a line of JSON a document.

    Rows of earlier runs are kept unless the same path was read again.

    Returns:
        The file.
    """
    new = {row["path"]: row for row in map(_row, outcomes)}
    old = (row for row in read_index(out) if row["path"] not in new)
    rows = [*old, *new.values()]
    rows.sort(key=lambda row: row["path"])
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        return _write_lines(out, rows)
    schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in COLUMNS.items()])
    with files.whole(out / PARQUET) as file, parquet.ParquetWriter(file, schema) as writer:
        for start in range(0, max(len(rows), 1), _ROWS_AT_ONCE):
            part = rows[start : start + _ROWS_AT_ONCE]
            writer.write_table(pa.Table.from_pylist(part, schema=schema))
    (out / LINES).unlink(missing_ok=True)
    return out / PARQUET


def read_index(out: Path) -> Iterator[dict[str, Any]]:
    """The rows of a folder's index; none if there is no index, or a broken one.

    Raises:
        InputError: as of `check_index`.
    """
    check_index(out)
    if (out / PARQUET).exists():
        import pyarrow as pa
        from pyarrow import parquet

        try:
            table = parquet.read_table(out / PARQUET, columns=list(COLUMNS))
        except (OSError, pa.ArrowException):
            return
        yield from table.to_pylist()
    elif (out / LINES).exists():
        with (out / LINES).open(encoding="utf-8", errors="replace") as lines:
            yield from filter(None, map(_read_line, lines))


def _read_line(line: str) -> dict[str, Any] | None:
    """A row; None where a line is no row."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and set(row) == set(COLUMNS) else None


def _write_lines(out: Path, rows: Iterable[dict[str, Any]]) -> Path:
    with files.whole(out / LINES) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return out / LINES


def _row(outcome: Outcome) -> dict[str, Any]:
    fields = None if outcome.fields is None else json.dumps(outcome.fields)
    row = {
        "path": outcome.path,
        "folder": outcome.folder,
        "status": outcome.status,
        "error": outcome.error,
        "pages": outcome.pages,
        "read": outcome.read,
        "flags": outcome.flags,
        "fields": fields,
        **asdict(outcome.usage),
        "sha256": outcome.digest,
    }
    return {name: _writable(value) for name, value in row.items()}


def _writable(value: Any) -> Any:  # noqa: ANN401 - a cell
    """Halves of characters, which names of files and models' texts may hold, are no UTF-8."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
