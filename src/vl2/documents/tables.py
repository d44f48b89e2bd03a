"""Tables: read out of what a model writes, written as Markdown, CSV and HTML."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import TypeAlias

Table: TypeAlias = list[list[str]]
"""Rows of cells, all of one length; the first row is the head."""

MAX_TABLES, MAX_ROWS, MAX_COLUMNS, MAX_CELL = 50, 2000, 200, 4000
"""What is beyond is a model that does not stop."""

_RULE = re.compile(r"\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?")
_BAR = re.compile(r"(?<!\\)\|")
_NUMBER = re.compile(r"[-+]?[\d.,\s%]+")
_HTML = re.compile(r"<table\b.*?(?:</table>|\Z)", re.IGNORECASE | re.DOTALL)
_BREAKS = re.compile(r"\s*(?:\n|<br\s*/?>)\s*", re.IGNORECASE)


def parse_tables(text: str) -> list[Table]:
    """The tables of a text: HTML's, then Markdown's, with or without a rule below the head."""
    tables = [table for part in _HTML.findall(text) for table in _html_tables(part)]
    rows: Table = []
    for line in [*_HTML.sub("\n", text).splitlines(), ""]:
        bare = line.strip()
        if "|" in bare and len(bare) <= MAX_CELL * 2:
            if not (rows and _RULE.fullmatch(bare)):
                rows.append(_cells(bare))
        else:
            tables += _table(rows)
            rows = []
    return tables[:MAX_TABLES]


def to_markdown(table: Table) -> str:
    """A table as Markdown; bars and line breaks in cells are escaped."""
    lines = ["| " + " | ".join(map(_escaped, row)) + " |" for row in table]
    rule = "|" + " --- |" * len(table[0])
    return "\n".join([lines[0], rule, *lines[1:]])


def to_csv(table: Table) -> str:
    """A table as CSV (RFC 4180) that is safe to open in a spreadsheet.

    Cells that a spreadsheet would run as a formula get an apostrophe before them; numbers do not.
    """
    written = io.StringIO()
    csv.writer(written).writerows([_harmless(cell) for cell in row] for row in table)
    return written.getvalue()


def to_html(table: Table) -> str:
    """A table as HTML, in the elements that the measure of tables (TEDS) counts."""
    rows = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in table)
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


def join_tables(parts: Sequence[Sequence[Table]]) -> list[Table]:
    """Tables of one page from those of its bands.

    The last table of a band and the first of the next are one if they have as many columns. Of
    the lower one's first rows those that the upper one ends with, and a head that is repeated, are
    left out.
    """
    joined: list[Table] = []
    for tables in parts:
        for index, table in enumerate(tables):
            if index == 0 and joined and len(joined[-1][0]) == len(table[0]):
                upper = joined[-1]
                rest = table[1:] if table[0] == upper[0] else table
                joined[-1] = upper + rest[_overlap(upper, rest) :]
            else:
                joined.append(table)
    return joined


def _overlap(upper: Table, lower: Table) -> int:
    for count in range(min(len(upper) - 1, len(lower)), 0, -1):
        if upper[-count:] == lower[:count]:
            return count
    return 0


def _cells(line: str) -> list[str]:
    parts = _BAR.split(line)
    if parts and not parts[0].strip():
        parts = parts[1:]
    if parts and not parts[-1].strip():
        parts = parts[:-1]
    return [part.replace("\\|", "|").strip()[:MAX_CELL] for part in parts[:MAX_COLUMNS]]


def _table(rows: Table) -> list[Table]:
    """The rows as one table, short ones filled up; nothing if they are too few to be one."""
    columns = max((len(row) for row in rows), default=0)
    if columns < 2 or (len(rows) < 2 and columns < 3):
        return []
    return [[row + [""] * (columns - len(row)) for row in rows[:MAX_ROWS]]]


def _escaped(cell: str) -> str:
    return _BREAKS.sub("<br>", cell.strip()).replace("|", "\\|")


def _harmless(cell: str) -> str:
    risky = cell[:1] in ("=", "@", "\t", "\r") or (
        cell[:1] in ("+", "-") and not _NUMBER.fullmatch(cell)
    )
    return f"'{cell}" if risky else cell


class _Reader(HTMLParser):
    """Collects the cells of tables; whatever is inside a cell counts as its text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: list[Table] = []
        self._cell: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._end_cell()
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self._end_cell()
            self.tables[-1].append([])
        elif tag in ("td", "th") and self.tables and self.tables[-1]:
            self._end_cell()
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "tr", "table"):
            self._end_cell()

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)

    def close(self) -> None:
        super().close()
        self._end_cell()

    def _end_cell(self) -> None:
        if self._cell is not None:
            text = " ".join("".join(self._cell).split())
            self.tables[-1][-1].append(text[:MAX_CELL])
            self._cell = None


def _html_tables(text: str) -> list[Table]:
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return [table for rows in reader.tables for table in _table([r for r in rows if r])]
