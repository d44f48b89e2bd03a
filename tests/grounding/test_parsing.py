"""Boxes out of model text, however broken, and the readable text without them."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vl2.grounding import Box, Stripper, parse, parse_normalised, strip
from vl2.grounding.boxes import TAGS

FRAGMENTS = st.one_of(
    st.sampled_from(
        [*TAGS, "[[", "]]", "[", "]", "1, 2, 3, 4", "0.5", "-", "9" * 30, " ", "<|", "<|de"]
    ),
    st.text(max_size=6),
)
HOSTILE = st.lists(FRAGMENTS, max_size=30).map("".join)


def ref(label: str, boxes: str) -> str:
    return f"<|ref|>{label}<|/ref|><|det|>{boxes}<|/det|>"


def corners(text: str) -> list[tuple[float, ...]]:
    return [box.corners for box in parse_normalised(text)]


def test_pixels_are_parts_of_999_of_the_given_picture() -> None:
    (box,) = parse(ref("The giraffe", "[[0, 333, 999, 666]]"), width=640, height=480)
    assert box == Box("The giraffe", 0.0, pytest.approx(160), 640.0, pytest.approx(320))


def test_several_boxes_per_label_and_several_labels() -> None:
    text = (
        "Two " + ref("dogs", "[[1, 2, 3, 4], [5, 6, 7, 8]]") + " and " + ref("猫", "[[9,9,10,10]]")
    )
    assert parse_normalised(text) == [
        Box("dogs", 1, 2, 3, 4),
        Box("dogs", 5, 6, 7, 8),
        Box("猫", 9, 9, 10, 10),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("No boxes here [[1, 2, 3, 4]].", [], id="no tags"),
        pytest.param(ref("a", ""), [], id="empty"),
        pytest.param(ref("a", "[]"), [], id="empty list"),
        pytest.param(ref("a", "1, 2, 3, 4"), [(1, 2, 3, 4)], id="no brackets"),
        pytest.param(ref("a", "[1, 2, 3, 4]"), [(1, 2, 3, 4)], id="one bracket"),
        pytest.param(
            ref("a", "[[[1, 2, 3, 4]], [[5, 6, 7, 8]]]"), [(1, 2, 3, 4), (5, 6, 7, 8)], id="nested"
        ),
        pytest.param(
            ref("a", "[[1, 2, 3, 4, 5, 6, 7, 8]]"), [(1, 2, 3, 4), (5, 6, 7, 8)], id="flat"
        ),
        pytest.param(ref("a", "[[1, 2, 3, 4, 5]]"), [(1, 2, 3, 4)], id="odd length"),
        pytest.param(ref("a", "[[1, 2, 3], [4, 5, 6, 7]]"), [(4, 5, 6, 7)], id="too short"),
        pytest.param(ref("a", "[[1.5, 2.25, 3., 4]]"), [(1.5, 2.25, 3, 4)], id="decimals"),
        pytest.param(ref("a", "[[0.0, .5, 1, 1.0]]"), [(0, 499.5, 999, 999)], id="fractions"),
        pytest.param(ref("a", "[[0, 0, 1, 1]]"), [(0, 0, 1, 1)], id="a speck is no fraction"),
        pytest.param(
            ref("a", "[[-5, 2, 1200, 99999999999999999999]]"), [(0, 2, 999, 999)], id="out of range"
        ),
        pytest.param(ref("a", "[[30, 40, 10, 20]]"), [(10, 20, 30, 40)], id="reversed"),
        pytest.param(ref("a", "[[a, b, c, d], [1, 2, 3, 4]]"), [(1, 2, 3, 4)], id="letters"),
        pytest.param("<|det|>[[1, 2, 3, 4]]<|/det|>", [(1, 2, 3, 4)], id="no label"),
        pytest.param(
            "<|ref|>a<|/ref|><|det|>[[1, 2, 3, 4], [5, 6, 7, 8",
            [(1, 2, 3, 4)],
            id="cut off in a box",
        ),
        pytest.param(
            "<|ref|>a<|/ref|><|det|>[[1, 2, 3, 4]", [(1, 2, 3, 4)], id="cut off after a box"
        ),
        pytest.param(
            "<|ref|>a<|/ref|><|det|>[[1, 2, 3, 4<|/det|>",
            [(1, 2, 3, 4)],
            id="brackets never closed",
        ),
        pytest.param(
            "<|ref|>a<|det|>[[1, 2, 3, 4]]<|/det|>", [(1, 2, 3, 4)], id="label never closed"
        ),
        pytest.param("[[1, 2, 3, 4]]<|/det|><|/ref|>", [], id="only closing tags"),
    ],
)
def test_broken_text(text: str, expected: list[tuple[float, ...]]) -> None:
    assert corners(text) == expected


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        pytest.param("<|ref|>a<|det|>[[1,2,3,4]]<|/det|>", ["a"], id="label never closed"),
        pytest.param(
            "<|ref|>a <|ref|>b<|/ref|><|det|>[[1,2,3,4]]<|/det|>", ["b"], id="nested label"
        ),
        pytest.param(ref(" a\n", "[[1,2,3,4]]"), ["a"], id="space around"),
        pytest.param(
            "<|ref|>a<|/ref|><|ref|>b<|/ref|><|det|>[[1,2,3,4]]<|/det|><|det|>[[5,6,7,8]]<|/det|>",
            ["a", "b"],
            id="equal counts belong together in order",
        ),
        pytest.param(
            "<|ref|>a<|/ref|> or <|ref|>b<|/ref|><|det|>[[1,2,3,4]]<|/det|>",
            ["b"],
            id="more labels than lists",
        ),
        pytest.param(
            "<|ref|>a<|/ref|><|det|>[[1,2,3,4]]<|/det|><|det|>[[5,6,7,8]]<|/det|>",
            ["a", "a"],
            id="more lists than labels",
        ),
    ],
)
def test_labels(text: str, labels: list[str]) -> None:
    assert [box.label for box in parse_normalised(text)] == labels


@given(HOSTILE)
def test_no_text_raises_and_every_box_is_in_range(text: str) -> None:
    for box in parse_normalised(text):
        assert 0 <= box.x1 <= box.x2 <= 999
        assert 0 <= box.y1 <= box.y2 <= 999


@pytest.mark.parametrize(
    "text",
    [
        "<|ref|>" * 40_000,
        "<|det|>" + "[" * 300_000,
        "<|det|>" + "9" * 300_000 + "<|/det|>",
        "<|det|>" + "1." * 150_000 + "<|/det|>",
        "<|det|>[[" + "1, 2, 3, 4, " * 30_000 + "]]<|/det|>",
        "<|ref|>a<|/ref|><|det|>[[1,2,3,4]]<|/det|>" * 8_000,
        "<|" * 150_000,
        "-" * 300_000,
    ],
    ids=lambda text: text[:16],
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    start = time.process_time()
    boxes = parse_normalised(text)
    strip(text)
    assert time.process_time() - start < 2
    assert len(boxes) <= 1000


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        ("Plain.", "Plain."),
        ("Two " + ref("dogs", "[[1, 2, 3, 4]]") + " run.", "Two dogs run."),
        ("<|grounding|>Yes", "Yes"),
        ("<|ref|>a<|/ref|><|det|>[[1, 2, 3", "a"),
        ("<|ref|>a<|/ref|><|det|>[[1, 2, 3, 4]] and 5 more", "a and 5 more"),
        ("a < b and <|b", "a < b and <|b"),
        ("half a tag <|re", "half a tag "),
        ("1 < 2, and 2 <", "1 < 2, and 2 <"),
        ("<|ref|>dog<|/ref|> <", "dog <"),
        ("<|ref|>a < b<", "a < b"),
        ("<|ref|>dog<|", "dog"),
        ("<|ref|>dog<|/re", "dog"),
        ("<|ref|>dog<|/ref|><|d", "dog"),
        ("<|ref|>dog<|/ref|><|det|>[[1, 2, 3, 4]]<", "dog"),
        ("<|ref|>dog<|/ref|><|det|>[[1, 2, 3, 4]]<|/d", "dog"),
    ],
)
def test_strip(text: str, readable: str) -> None:
    assert strip(text) == readable


@given(HOSTILE, st.lists(st.integers(0, 60), max_size=12))
def test_stripping_in_pieces_is_stripping_the_whole(text: str, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    stripper = Stripper()
    pieces = [text[a:b] for a, b in itertools.pairwise(places)]
    assert "".join(map(stripper.feed, pieces)) + stripper.close() == strip(text)


@given(
    st.sampled_from(["", "<|ref|>dog", "<|ref|>dog<|/ref|><|det|>[["]),
    st.text("ab|/> [],12"),
    st.sampled_from(TAGS),
    st.integers(2, 6),
)
def test_no_tag_cut_off_is_shown(start: str, text: str, tag: str, length: int) -> None:
    assert strip(start + text + tag[:length]) == strip(start + text)


def test_stripping_holds_back_no_more_than_a_tag() -> None:
    stripper = Stripper()
    assert stripper.feed("It is <") == "It is "
    assert stripper.feed("b") == "<b"
    assert stripper.feed("<|re") == ""
    assert stripper.feed("f|>dog") == "dog"
