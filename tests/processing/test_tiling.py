import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import golden

from vl2.errors import InputError
from vl2.processing.tiling import (
    CANDIDATE_RESOLUTIONS,
    Grid,
    Tiling,
    candidate_resolutions,
    tiles_conversation,
)

SIDES = st.integers(1, 12000)
NANO = Tiling(candidate_resolutions(96, 4), 96, 12, 2)
INFO_VQA = Tiling(candidate_resolutions(384, 18))


def chosen_step_by_step(
    candidates: tuple[tuple[int, int], ...], width: int, height: int
) -> tuple[int, int]:
    """The rule as a loop: most pixels kept, then fewest wasted, then the first."""
    best, kept_most, wasted_least = (0, 0), -1, 0
    for candidate in candidates:
        scale = min(candidate[0] / width, candidate[1] / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        wasted = candidate[0] * candidate[1] - kept
        if kept > kept_most or (kept == kept_most and wasted < wasted_least):
            best, kept_most, wasted_least = candidate, kept, wasted
    return best


def rows_of(tiling: Tiling, grid: Grid) -> list[int]:
    """Tokens row by row: the global view, the separator, the stitched local tiles."""
    side = tiling.side
    return [side + 1] * side + [1] + [grid.columns * side + 1] * (grid.rows * side)


def test_candidates_are_those_of_the_released_files():
    text = (golden.checkpoint("small") / "processor_config.json").read_text(encoding="utf-8")
    assert [list(size) for size in CANDIDATE_RESOLUTIONS] == json.loads(text)[
        "candidate_resolutions"
    ]


def test_candidates_for_info_vqa_extend_the_released_ones():
    extended = candidate_resolutions(384, 18)
    assert len(extended) == 58
    assert extended[:23] == CANDIDATE_RESOLUTIONS
    assert all(width * height <= 18 * 384**2 for width, height in extended)


def test_candidates_of_the_embedded_model():
    grids = [(width // 96, height // 96) for width, height in candidate_resolutions(96, 4)]
    assert grids == [(1, 1), (1, 2), (2, 1), (1, 3), (3, 1), (1, 4), (4, 1), (2, 2)]


@pytest.mark.parametrize("variant", golden.VARIANTS)
def test_grids_and_tokens_equal_the_original(variant):
    tiling = Tiling()
    for name, known in golden.facts(variant)["tiling"].items():
        grid = tiling.grid(*known["size"])
        assert [grid.columns, grid.rows] == known["crop"], name
        assert tiling.tokens(grid) == known["tokens"], name
        assert grid.n_tiles == len(known["tile_means"]), name


@given(width=SIDES, height=SIDES, tiling=st.sampled_from([Tiling(), NANO, INFO_VQA]))
def test_grid_follows_the_rule(width, height, tiling):
    best = chosen_step_by_step(tiling.candidates, width, height)
    assert tiling.canvas(tiling.grid(width, height)) == best


@given(width=SIDES, height=SIDES, tiling=st.sampled_from([Tiling(), NANO, INFO_VQA]))
def test_tokens_are_the_rows_of_the_layout(width, height, tiling):
    grid = tiling.grid(width, height)
    assert tiling.tokens(grid) == sum(rows_of(tiling, grid))
    assert tiling.tokens(grid) <= tiling.max_tokens


def test_the_first_of_equal_candidates_wins():
    # both keep every pixel of a single one and waste as much
    tiling = Tiling(((768, 384), (384, 768)))
    assert tiling.grid(1, 1) == Grid(2, 1)
    assert Tiling(((384, 768), (768, 384))).grid(1, 1) == Grid(1, 2)


def test_lengths_are_truncated_not_rounded():
    # 385 x 384 in 384 x 384 keeps 384 x 383 pixels: 384 / 385 * 384 is 383.002
    assert Tiling().grid(385, 384) == Grid(2, 1)


def test_odd_grids_of_patches_are_padded_and_even_ones_not():
    assert Tiling().side == 14  # 27 patches
    assert NANO.side == 4  # 8 patches
    assert Tiling(((392, 392),), 392, 14, 2).side == 14  # 28 patches


def test_known_counts():
    tiling = Tiling()
    assert tiling.tokens(Grid(1, 1)) == 421
    assert tiling.tokens(Grid(3, 3)) == 2017
    assert tiling.max_tokens == tiling.tokens(Grid(1, 9)) == 2101
    assert INFO_VQA.max_tokens == 3991
    assert NANO.tokens(Grid(1, 1)) == 4 * 5 + 1 + 4 * 5


@pytest.mark.parametrize(("images", "tiled"), [(0, True), (1, True), (2, True), (3, False)])
def test_at_most_two_pictures_are_tiled(images, tiled):
    assert tiles_conversation(images) is tiled


def test_untiled_pictures_have_one_local_tile():
    assert Tiling().grid(4000, 1000, tiled=False) == Grid(1, 1)


@given(width=SIDES, height=SIDES, max_tiles=st.integers(1, 9))
def test_max_tiles_limits_the_grid_and_keeps_the_order(width, height, max_tiles):
    limited = Tiling().limited(max_tiles)
    kept = [size for size in CANDIDATE_RESOLUTIONS if size in limited.candidates]
    assert list(limited.candidates) == kept
    assert limited.candidates == candidate_resolutions(384, max_tiles)
    assert limited.grid(width, height).n_tiles <= 1 + max_tiles


def test_max_tiles_none_changes_nothing():
    assert Tiling().limited(None) == Tiling()


@pytest.mark.parametrize("max_tiles", [0, -1])
def test_max_tiles_below_one_is_refused(max_tiles):
    with pytest.raises(InputError, match="max_tiles"):
        Tiling().limited(max_tiles)


@pytest.mark.parametrize(
    "broken",
    [
        {"candidates": ()},
        {"candidates": ((384, 400),)},
        {"candidates": ((0, 384),)},
        {"patch_size": 0},
        {"patch_size": 385},
        {"downsample": 0},
    ],
)
def test_impossible_rules_are_refused(broken):
    with pytest.raises(InputError):
        Tiling(**broken)


def test_a_rule_from_a_configuration():
    assert Tiling.from_candidates([[96, 96], [96, 192]], 12, 2) == Tiling(
        ((96, 96), (96, 192)), 96, 12, 2
    )
    with pytest.raises(InputError):
        Tiling.from_candidates([], 14, 2)
    with pytest.raises(InputError, match=r"0 and number 9|side 0"):
        candidate_resolutions(0, 9)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5)])
def test_pictures_without_pixels_are_refused(size):
    with pytest.raises(InputError, match="at least one pixel"):
        Tiling().grid(*size)
