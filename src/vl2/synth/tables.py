"""Tables: a head, rows with names, and cells to look up or to write down as Markdown."""

import functools
import random
from dataclasses import dataclass

from vl2.synth import templates, topics
from vl2.synth.drawn import Drawn, Question
from vl2.synth.fonts import GlyphSet
from vl2.synth.layouts import layout
from vl2.synth.paper import Press, Style, is_legible, shade, style, widest

FEATURES = {
    "lines": ("grid", "level", "head", "none"),
    "rows": ("plain", "striped"),
    "head": ("heavy", "tinted", "plain"),
    "cells": ("left", "centre", "right"),
    "names": ("plain", "heavy", "tinted"),
}
ROWS, COLUMNS = (2, 4), (1, 3)


@dataclass(frozen=True, slots=True)
class Table:
    """What a table says: its head, and its rows; the first column names the rows."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def markdown(self) -> str:
        """The table in Markdown, with single spaces around cells."""
        dashes = ("---",) * len(self.head)
        return "\n".join(f"| {' | '.join(row)} |" for row in (self.head, dashes, *self.rows))


def _numbers(rng: random.Random, count: int) -> list[str]:
    """A column of numbers of one kind."""
    kind = rng.random()
    if kind < 0.4:
        most = rng.choice((9, 99, 99, 999))
        return [str(rng.randint(1, most)) for _ in range(count)]
    if kind < 0.6:
        return [f"{rng.randint(0, 19)}.{rng.randint(0, 9)}" for _ in range(count)]
    if kind < 0.75:
        return [f"{rng.randint(1, 99)}%" for _ in range(count)]
    if kind < 0.9:
        return [f"${rng.randint(1, 99)}" for _ in range(count)]
    return [str(rng.randint(1950, 2024)) for _ in range(count)]


def _words(rng: random.Random, count: int, held_out: bool) -> list[str]:
    """A column of words: names, or a few words that come again."""
    topic = rng.choice(("goods", "people", "towns", "words"))
    found = topics.pick(rng, topic, count, held_out=held_out, longest=6)
    if rng.random() < 0.3:
        found = [rng.choice(found[:2]) for _ in found]
    return [word.capitalize() for word in found] if rng.random() < 0.6 else found


def table(
    rng: random.Random,
    *,
    held_out: bool,
    rows: tuple[int, int] = ROWS,
    columns: tuple[int, int] = COLUMNS,
) -> Table:
    """A random table; its words, but not its numbers, are of the split's class."""
    height, width = rng.randint(*rows), rng.randint(*columns)
    topic = rng.choice(("goods", "people", "people", "towns", "words"))
    names = topics.pick(rng, topic, height, held_out=held_out, longest=6)
    names = [name.capitalize() for name in names] if rng.random() < 0.7 else names
    heads = "heads" if rng.random() < 0.6 else rng.choice(("fields", "words"))
    head = topics.pick(rng, heads, width + 1, held_out=held_out, longest=6)
    head = [name.capitalize() for name in head]
    cells = [
        _words(rng, height, held_out) if rng.random() < 0.25 else _numbers(rng, height)
        for _ in range(width)
    ]
    return Table(tuple(head), tuple(zip(names, *cells, strict=True)))


def _widths(said: Table, looks: Style, head: GlyphSet, names: GlyphSet) -> list[int]:
    """The widths of the columns' print in pixels."""
    columns = list(zip(*said.rows, strict=True))
    return [
        max(
            widest((title,), head),
            widest(column, names if i == 0 else looks.letters),
        )
        for i, (title, column) in enumerate(zip(said.head, columns, strict=True))
    ]


def draw(
    rng: random.Random,
    *,
    held_out: bool,
    rows: tuple[int, int] = ROWS,
    columns: tuple[int, int] = COLUMNS,
) -> Drawn | None:
    """A table with its questions; None if it came out too large to be legible."""
    said = table(rng, held_out=held_out, rows=rows, columns=columns)
    looks = style(rng, held_out=held_out)
    features = layout(rng, FEATURES, held_out=held_out)
    head = looks.letters if features["head"] == "plain" else looks.heavy
    names = looks.heavy if features["names"] == "heavy" else looks.letters
    gap, margin = looks.size * rng.uniform(0.8, 1.6), looks.size * rng.uniform(0.4, 1.2)
    widths = [width + gap for width in _widths(said, looks, head, names)]
    pitch = looks.size * rng.uniform(1.5, 2.0)
    width = sum(widths) + 2 * margin
    height = (len(said.rows) + 1) * pitch + 2 * margin
    if not is_legible(width, height, looks.letters):
        return None
    press = Press(rng, width, height, looks)
    edges = [margin]
    for column in widths:
        edges.append(edges[-1] + column)
    _draw_lines(press, features, edges, pitch, len(said.rows) + 1)
    for i, row in enumerate((said.head, *said.rows)):
        base = edges[0] + i * pitch + 0.5 * pitch + 0.34 * looks.size
        for j, cell in enumerate(row):
            letters = head if i == 0 else names if j == 0 else looks.letters
            align = {"left": 0.0, "centre": 0.5, "right": 1.0}[features["cells"]] if j else 0.0
            x = edges[j] + gap / 2 + align * (widths[j] - gap)
            press.write(cell, x, base, letters=letters, align=align)
    questions = {
        "cell": functools.partial(ask_cell, said),
        "table_markdown": functools.partial(ask_markdown, said),
    }
    return Drawn((press.document(),), questions)


def _draw_lines(
    press: Press, features: dict[str, str], edges: list[float], pitch: float, rows: int
) -> None:
    """Draws tints first, then the lines of a table."""
    paper, top = press.style.paper, edges[0]
    left, right, bottom = edges[0], edges[-1], edges[0] + rows * pitch
    for i in range(rows):
        if features["rows"] == "striped" and i % 2 == 0:
            press.fill(left, top + i * pitch, right, top + (i + 1) * pitch, shade(paper, 0.08))
    if features["names"] == "tinted":
        press.fill(left, top, edges[1], bottom, shade(paper, 0.13))
    if features["head"] == "tinted":
        press.fill(left, top, right, top + pitch, shade(paper, 0.2))
    if features["lines"] == "grid":
        for x in edges:
            press.pen.line((round(x), round(top), round(x), round(bottom)), fill=press.ink)
    below = {"grid": range(rows + 1), "level": range(rows + 1), "head": (1,), "none": ()}
    for i in below[features["lines"]]:
        press.rule(left, right, round(top + i * pitch), "solid")


def ask_cell(said: Table, rng: random.Random) -> Question:
    """What a cell says, told by the names of its row and its column."""
    row, column = rng.choice(said.rows), rng.randrange(1, len(said.head))
    question = rng.choice(templates.CELL).format(row=row[0], column=said.head[column])
    return question, row[column]


def ask_markdown(said: Table, rng: random.Random) -> Question:
    """The whole table in Markdown."""
    return rng.choice(templates.MARKDOWN), said.markdown
