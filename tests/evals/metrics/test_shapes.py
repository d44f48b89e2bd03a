"""Boxes and tables."""

import pytest
from apted import APTED, Config
from hypothesis import given, settings
from hypothesis import strategies as st

from vl2.evals.metrics.boxes import first_box, intersection_over_union
from vl2.evals.metrics.tables import MAX_CHARACTERS, Node, teds, tree_distance


def test_intersection_over_union_by_hand():
    a = (0.0, 0.0, 10.0, 10.0)
    assert intersection_over_union(a, a) == 1
    assert intersection_over_union(a, (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert intersection_over_union(a, (0, 0, 10, 5)) == 0.5
    assert intersection_over_union(a, (20, 20, 30, 30)) == 0
    assert intersection_over_union((1, 1, 1, 1), (1, 1, 1, 1)) == 0


def test_the_first_box_in_pixels():
    said = "<|ref|>it<|/ref|><|det|>[[0, 0, 999, 333], [1, 2, 3, 4]]<|/det|>"
    assert first_box(said, 300, 600) == pytest.approx((0, 0, 300, 200))
    assert first_box("nothing", 300, 600) is None


def table(*rows):
    return "<table>" + "".join(f"<tr>{''.join(row)}</tr>" for row in rows) + "</table>"


def cells(*texts):
    return [f"<td>{text}</td>" for text in texts]


TWO = table(cells("a", "b"), cells("c", "d"))  # 2 rows and 4 cells: 6 nodes


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (TWO, 1),
        (f"<p>Here:</p>{TWO}<table></table>", 1),
        (TWO.replace("<td>d</td>", "<td>x</td>"), 1 - 1 / 6),
        (TWO.replace("<td>d</td>", "<td>dx</td>"), 1 - 0.5 / 6),
        (TWO.replace("<td>d</td>", ""), 1 - 1 / 6),
        (TWO.replace("<td>d</td>", '<td colspan="2">d</td>'), 1 - 1 / 6),
        (TWO.replace("<td>d</td>", "<td><b>d</b></td>"), 1 - (2 / 3) / 7),
        (table(cells("a", "b")), 1 - 3 / 6),
        ("<table></table>", 0),
        ("no table", 0),
        ("<table><tr><td>a<td>b<tr><td>c<td>d", 1),
        (TWO.replace("table>", "TABLE>").replace("td>", "TD>"), 1),
        ("<table>" + "<tr>" * 3000, 0),
        ("x" * (MAX_CHARACTERS + 1), 0),
    ],
)
def test_teds_by_hand(said, expected):
    assert teds(said, TWO) == pytest.approx(expected)


def test_structure_alone():
    assert teds(TWO.replace("a", "x").replace("tx", "ta"), TWO, structure_only=True) == 1
    wide = TWO.replace("<td>d</td>", '<td rowspan="2">d</td>')
    assert teds(wide, TWO, structure_only=True) == pytest.approx(1 - 1 / 6)


def test_entities_and_void_elements_are_content():
    one = table(cells("a&amp;b<br>c"))
    assert teds(one, table(cells("a&amp;b<br>c"))) == 1
    # "a", "&", "b" of five items, for the break is two
    assert teds(one, table(cells("<br>c"))) == pytest.approx(1 - (3 / 6) / 3)


class Unit(Config):
    def children(self, node):
        return node.children

    def rename(self, a, b):
        return float((a.tag, a.span) != (b.tag, b.span))


def trees():
    tags = st.sampled_from(["tr", "th", "tbody"])
    return st.recursive(
        st.builds(Node, tags),
        lambda inner: st.builds(
            lambda tag, kids: Node(tag, children=kids), tags, st.lists(inner, max_size=4)
        ),
        max_leaves=9,
    )


@settings(max_examples=60)
@given(trees(), trees())
def test_tree_distance_as_apted(a, b):
    assert tree_distance(a, b) == pytest.approx(APTED(a, b, Unit()).compute_edit_distance())
