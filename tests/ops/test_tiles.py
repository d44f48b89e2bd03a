import pytest
import torch

from vl2.ops import tiles


@pytest.mark.parametrize(("side", "factor"), [(27, 2), (8, 2), (5, 2), (7, 3), (4, 1)])
def test_fold_equals_unfold(side, factor):
    patches = torch.randn(2, side * side, 5)
    assert torch.equal(
        tiles.fold_patches(patches, factor), tiles.plain_fold_patches(patches, factor)
    )


def test_fold_pads_at_the_bottom_and_on_the_right():
    folded = tiles.fold_patches(torch.ones(1, 27 * 27, 1), 2).view(14, 14, 4)
    assert (folded[:13, :13] == 1).all()
    assert folded[5, 13].tolist() == [1, 0, 1, 0]
    assert folded[13, 5].tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (3, 2), (2, 3), (1, 4)])
def test_rows_equal_their_twin(columns, rows):
    part = torch.randn(1 + columns * rows, 9, 4)
    newline, separator = torch.randn(4), torch.randn(4)
    assert torch.equal(
        tiles.image_rows(part, columns, rows, newline, separator),
        tiles.plain_image_rows(part, columns, rows, newline, separator),
    )


@pytest.mark.parametrize(
    ("columns", "rows", "tokens"), [(1, 1, 421), (3, 3, 2017), (1, 9, 2101), (3, 2, 1415)]
)
def test_number_of_rows_is_that_of_the_paper(columns, rows, tokens):
    part = torch.zeros(1 + columns * rows, 196, 1)
    assert tiles.image_rows(part, columns, rows, torch.ones(1), torch.ones(1)).shape == (tokens, 1)


def test_patches_must_form_a_square():
    with pytest.raises(ValueError, match="728 patches do not form a square"):
        tiles.fold_patches(torch.zeros(1, 728, 3), 2)
