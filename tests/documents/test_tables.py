"""Tables out of what a model writes, and out again."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vl2.documents.tables import (
    MAX_TABLES,
    join_tables,
    parse_tables,
    to_csv,
    to_html,
    to_markdown,
)

CELLS = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")), max_size=8).map(
    str.strip
)
TABLES = st.integers(2, 4).flatmap(
    lambda columns: st.lists(
        st.lists(CELLS, min_size=columns, max_size=columns), min_size=2, max_size=5
    )
)


@given(TABLES)
def test_a_table_survives_markdown(table):
    plain = [[cell.replace("\\", "/").replace("<", "(") for cell in row] for row in table]
    rows = [row for row in plain[1:] if set("".join(row)) - set("-: ")]
    plain = [["head", *plain[0][1:]], *rows, ["last"] * len(plain[0])]
    assert parse_tables(to_markdown(plain)) == [plain]


@given(TABLES)
def test_a_table_survives_html(table):
    table = [[" ".join(cell.split()) or "x" for cell in row] for row in table]
    assert parse_tables(to_html(table)) == [table]


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ("| a | b |\n|---|---|\n| 1 | 2 |", [[["a", "b"], ["1", "2"]]]),
        ("a | b\n:-- | --:\n1 | 2", [[["a", "b"], ["1", "2"]]]),
        (
            "Two:\n|a|b|\n|-|-|\n|1|2|\n\n|c|d|\n|3|4|",
            [[["a", "b"], ["1", "2"]], [["c", "d"], ["3", "4"]]],
        ),
        ("| a | b |\n|---|---|\n| 1 |", [[["a", "b"], ["1", ""]]]),
        (r"| a\|b | c |" "\n| 1 | 2 |", [[["a|b", "c"], ["1", "2"]]]),
        ("<table><tr><th>a<th>b<tr><td>1<td>2</table>", [[["a", "b"], ["1", "2"]]]),
        ("<table><tr><td>a<td><table><tr><td>1<td>2<td>3", [[["1", "2", "3"]]]),
        ("no table | at all", []),
        ("", []),
    ],
    ids=["plain", "bare", "two", "short", "bar", "html", "nested", "line", "empty"],
)
def test_what_models_write(text, tables):
    assert parse_tables(text) == tables


@given(st.text("<>tabledrh/|- \n\"'=&;", max_size=300))
def test_nothing_that_a_model_writes_is_too_much(text):
    for table in parse_tables(text):
        assert len({len(row) for row in table}) == 1


def test_runaway_tables_end():
    assert len(parse_tables("| a | b |\n| 1 | 2 |\n\n" * 500)) == MAX_TABLES


def test_csv_is_read_back_and_runs_no_formula():
    table = [["name", "sum"], ['say "hi", you', "-12.50"], ["=1+2", "+49 (0)"], ["@x", "-x"]]
    rows = list(csv.reader(io.StringIO(to_csv(table))))
    assert rows[:2] == table[:2]
    assert rows[2:] == [["'=1+2", "'+49 (0)"], ["'@x", "'-x"]]


def test_tables_of_bands_are_joined():
    upper = [["item", "sum"], ["tea", "1"], ["milk", "2"]]
    lower = [["item", "sum"], ["milk", "2"], ["salt", "3"]]
    other = [["a", "b", "c"], ["1", "2", "3"]]
    assert join_tables([[upper], [lower, other]]) == [[*upper, ["salt", "3"]], other]
    assert join_tables([[upper], [other]]) == [upper, other]
    assert join_tables([[], [upper]]) == [upper]
