"""Boxes written as text, and read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vl2.errors import InputError
from vl2.grounding import Box, format_boxes, locate_question, parse, parse_normalised

LABELS = st.text(min_size=1, max_size=20).map(str.strip).filter(lambda t: t and "<|" not in t)
SIZES = st.integers(1, 20_000)


def test_the_format_of_the_paper() -> None:
    text = format_boxes("dogs", [Box("", 0, 0, 320, 240), (64, 48, 640, 480)], 640, 480)
    assert text == "<|ref|>dogs<|/ref|><|det|>[[0, 0, 500, 500], [100, 100, 999, 999]]<|/det|>"


def test_corners_outside_the_picture_are_clamped() -> None:
    assert "[[0, 0, 999, 999]]" in format_boxes("a", [(-3, -1, 50, 12)], 10, 10)


@given(LABELS, st.data(), SIZES, SIZES)
def test_pixels_come_back_within_half_a_step(label, data, width, height) -> None:
    def span(size: int) -> st.SearchStrategy[list[float]]:
        return st.lists(st.floats(0, size), min_size=2, max_size=2).map(sorted)

    (x1, x2), (y1, y2) = data.draw(span(width)), data.draw(span(height))
    box = Box(label, x1, y1, x2, y2)
    (back,) = parse(format_boxes(label, [box], width, height), width, height)
    assert back.label == label
    assert abs(back.x1 - x1) <= width / 999 * 0.5001
    assert abs(back.y1 - y1) <= height / 999 * 0.5001
    assert abs(back.x2 - x2) <= width / 999 * 0.5001
    assert abs(back.y2 - y2) <= height / 999 * 0.5001


@given(
    LABELS,
    st.lists(st.lists(st.integers(0, 999), min_size=4, max_size=4), min_size=1, max_size=5),
    SIZES,
    SIZES,
)
def test_whole_numbers_come_back_exactly(label, grid, width, height) -> None:
    text = f"<|ref|>{label}<|/ref|><|det|>{grid}<|/det|>"
    again = format_boxes(label, parse(text, width, height), width, height)
    assert parse_normalised(again) == parse_normalised(text)


def test_json_rounds_to_a_tenth() -> None:
    assert Box("a", 0.04, 1.26, 2, 3.999).as_dict() == {"label": "a", "box": [0.0, 1.3, 2, 4.0]}


def test_boxes_for_people_are_in_whole_pixels():
    assert str(Box("a star", 9.60960960960961, 0.2, 44.9, 58)) == "[10, 0, 45, 58] a star"
    assert str(Box("", 1, 2, 3, 4)) == "[1, 2, 3, 4]"


def test_the_question_that_locates() -> None:
    assert locate_question(" the red box ") == "<|ref|>the red box<|/ref|>."


@pytest.mark.parametrize("phrase", ["", "  ", "<|ref|>a", "a<|det|>"])
def test_a_phrase_must_be_plain_words(phrase: str) -> None:
    with pytest.raises(InputError):
        locate_question(phrase)


def test_a_picture_without_size() -> None:
    with pytest.raises(InputError, match="0x5"):
        format_boxes("a", [], 0, 5)


def test_a_label_with_a_tag() -> None:
    with pytest.raises(InputError, match="grounding tag"):
        format_boxes("a<|/ref|>", [], 5, 5)
