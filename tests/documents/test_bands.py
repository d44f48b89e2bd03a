"""Long pages are cut so that they can be read, and joined without doubled or lost lines."""

import itertools
import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vl2.documents.bands import (
    MAX_BANDS,
    Band,
    alike,
    band_height,
    bands_of,
    join_boxes,
    join_lines,
    join_texts,
)
from vl2.grounding import Box
from vl2.processing.tiling import Tiling

TILING = Tiling()
ODD = Tiling(((64, 64), (128, 64), (64, 128), (64, 256)), 64, 8, 2)


def shown(width, height, tiling=TILING):
    """By how much a picture is scaled to be shown."""
    canvas = tiling.canvas(tiling.grid(width, height))
    return min(canvas[0] / width, canvas[1] / height)


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ((1190, 1684), 1),  # A4 at 144 dpi
        ((1190, 2380), 1),  # twice as long as wide: two tiles wide, four tall
        ((1190, 2381), 2),
        ((384, 3456), 1),  # one tile wide and nine tall, shown as it is
        ((600, 6000), 5),  # a till receipt
        ((6000, 600), 1),  # only length is cut
        ((1, 1), 1),
    ],
)
def test_which_pages_of_the_released_models_are_cut(size, count):
    assert len(bands_of(*size, TILING, 2)) == count


@given(
    st.integers(1, 3000),
    st.integers(1, 30000),
    st.sampled_from((TILING, ODD)),
    st.integers(1, 4),
)
def test_bands_cover_a_page_overlap_and_are_shown_as_promised(width, height, tiling, across):
    bands = bands_of(width, height, tiling, across)
    assert bands[0].top == 0
    assert bands[-1].bottom == height
    most = band_height(width, tiling, across)
    assert len(bands) <= MAX_BANDS
    for upper, lower in itertools.pairwise(bands):
        assert upper.top < lower.top < upper.bottom < lower.bottom
        if len(bands) < MAX_BANDS:
            assert upper.bottom - lower.top >= most // 8 - 1
    assume(1 < len(bands) < MAX_BANDS)
    widest = max(columns for columns, _ in tiling.candidates)
    wished = min(1.0, min(across * tiling.tile_size, widest) / width)
    for band in bands:
        assert band.bottom - band.top <= most + 1
        # Rounding a height of a few pixels may cost a little.
        assert shown(width, band.bottom - band.top, tiling) >= 0.9 * wished


def test_more_tiles_across_cut_an_ordinary_page():
    assert len(bands_of(1190, 1684, TILING, 3)) == 2


LINES = st.lists(
    st.text("abcdefghij ", min_size=3, max_size=12).filter(lambda t: len(t.strip()) > 2),
    min_size=4,
    max_size=40,
)


@settings(max_examples=150)
@given(LINES, st.data())
def test_a_text_read_in_overlapping_bands_is_the_text(lines, data):
    lines = [f"{index} {line}" for index, line in enumerate(lines)]  # no two lines alike
    share = 0.25
    size = data.draw(st.integers(4, len(lines)))
    overlap = max(1, math.floor(share * size))
    tops = list(range(0, max(len(lines) - overlap, 1), size - overlap))
    texts = ["\n".join(lines[top : top + size]) for top in tops]
    bands = [Band(100 * top, 100 * (top + size)) for top in tops]
    assert join_texts(texts, bands) == "\n".join(line for line in lines)


def test_torn_lines_at_the_edges_give_way_to_whole_ones():
    upper = ["Alpha one", "Beta two", "Gamma three", "De1ta f"]
    lower = ["eta tvvo x", "Gamma three", "Delta four", "Epsilon five"]
    assert join_lines(upper, lower, 0.5, 4) == [
        "Alpha one",
        "Beta two",
        "Gamma three",
        "Delta four",
        "Epsilon five",
    ]


def test_a_line_read_a_little_differently_is_one_line():
    joined = join_lines(["a", "Invoice number 17"], ["lnvoice number 17", "b"], 0.5, 2)
    assert joined == ["a", "Invoice number 17", "b"]


def test_lines_that_differ_in_a_digit_are_two():
    assert not alike("Item 11 4.50", "Item 12 4.50")
    assert alike("Item 11  4.50", "item 11 4.50")


def test_repeated_lines_are_not_swallowed_beyond_the_overlap():
    upper, lower = ["---"] * 20, ["---"] * 20
    # An eighth of 20 lines, and two for lines of unequal height.
    assert len(join_lines(upper, lower, 0.125, 20)) >= 35


def test_bands_without_a_common_line_are_put_below_each_other():
    assert join_lines(["a"], ["b"], 0.5, 1) == ["a", "b"]
    assert join_lines([], ["b"], 0.5, 0) == ["b"]
    assert join_lines(["a"], [], 0.5, 1) == ["a"]


def test_boxes_come_down_with_their_band_and_once():
    bands = [Band(0, 100), Band(80, 180)]
    upper = [Box("stamp", 10, 85, 30, 100), Box("seal", 1, 1, 5, 5)]
    lower = [Box("stamp", 10, 5, 30, 25), Box("stamp", 60, 60, 70, 70)]
    assert join_boxes([upper, lower], bands) == [
        Box("stamp", 10, 85, 30, 105),  # the one that no edge cuts
        Box("seal", 1, 1, 5, 5),
        Box("stamp", 60, 140, 70, 150),
    ]
