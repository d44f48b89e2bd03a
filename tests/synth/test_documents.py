"""Answers about printed documents, found again from where their words lie."""

import re
from decimal import Decimal

import pytest

from vl2.synth import heldout, sample
from vl2.synth.things import TILING


def rows_of(things):
    """Printed things from top to bottom in rows, each from left to right, by where they overlap."""
    rows = []
    for thing in sorted(things, key=lambda t: (t.y1 + t.y2) / 2):
        middle = (thing.y1 + thing.y2) / 2
        if rows and any(t.y1 < middle < t.y2 for t in rows[-1]):
            rows[-1].append(thing)
        else:
            rows.append([thing])
    return [sorted(row, key=lambda t: t.x1) for row in rows]


def both(kind, count=40):
    return [
        sample(seed, split, kinds={kind: 1.0})
        for seed in range(count)
        for split in ("train", "heldout")
    ]


def quoted(question):
    return re.findall(r'"([^"]*)"', question)


def money(text):
    return Decimal(text.lstrip("$"))


def test_receipts_say_what_was_asked_and_add_up():
    tasks = 0
    for s in both("receipt"):
        rows = [[t.name for t in row] for row in rows_of(s.scenes[0].things)]
        prices = {row[0]: row[-1] for row in rows if len(row) == 2 and "." in row[-1]}
        total = prices.pop("Total")
        prices = {name: price for name, price in prices.items() if name != "No"}
        assert sum(map(money, prices.values())) == money(total)
        for turn in s.turns:
            tasks += 1
            if not quoted(turn.question):
                assert turn.answer == total
            elif quoted(turn.question)[0] in prices:
                assert turn.answer == prices[quoted(turn.question)[0]]
            else:
                assert prices[turn.answer] == quoted(turn.question)[0]
    assert tasks > 200


def test_values_stand_beside_or_below_their_fields():
    below = beside = 0
    for s in both("form"):
        rows = rows_of(s.scenes[0].things)
        for turn in s.turns:
            (name,) = quoted(turn.question)
            place = next(i for i, row in enumerate(rows) if row[0].name.rstrip(":") == name)
            if len(rows[place]) == 2:
                assert rows[place][1].name == turn.answer
                beside += 1
            else:
                assert [t.name for t in rows[place + 1]] == [turn.answer]
                below += 1
    assert min(below, beside) > 30


def cells(s):
    return [[t.name for t in row] for row in rows_of(s.scenes[0].things)]


def test_cells_lie_where_row_and_column_cross():
    asked = 0
    for s in both("table"):
        head, *rows = cells(s)
        for turn in s.turns:
            if turn.task != "cell":
                continue
            named = quoted(turn.question)
            row = next(row for row in rows if row[0] in named)
            column = next(i for i, title in enumerate(head) if i and title in named)
            assert turn.answer == row[column]
            asked += 1
    assert asked > 200


def test_markdown_is_the_table_as_it_lies():
    told = 0
    for s in both("table"):
        for turn in s.turns:
            if turn.task == "table_markdown":
                lines = [line.strip("| ").split(" | ") for line in turn.answer.splitlines()]
                assert set(lines.pop(1)) == {"---"}
                assert lines == cells(s)
                told += 1
    assert told > 20


def test_a_paragraph_reads_from_left_to_right_and_down():
    told = 0
    for s in both("paragraph"):
        words = [t.name for row in rows_of(s.scenes[0].things) for t in row]
        for turn in s.turns:
            assert sorted(turn.answer.split()) == sorted(words)
            # A comma or a full stop reaches below the line; order is told by whole words.
            assert turn.answer.split() == [t.name for t in s.scenes[0].things]
            told += 1
    assert told > 70


@pytest.mark.parametrize("task", ["small_text"])
def test_small_print_can_be_read_in_local_tiles_alone(task):
    for s, turn in heldout(task, 40):
        (scene,) = s.scenes
        texts = [t for t in scene.things if t.kind == "text"]
        assert turn.answer == "\n".join(t.name for t in sorted(texts, key=lambda t: t.y1))
        side = scene.image.width
        grid = TILING.grid(*scene.image.size)
        assert (grid.columns, grid.rows) == (2, 2)
        letters = [x2 - x1 for _, x1, _, x2, _ in scene.characters]
        advance = sum(letters) / len(letters)
        assert 96 / side * advance < 5.5
        assert 192 / side * advance > 5
