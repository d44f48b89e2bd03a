import numpy as np
import pytest

from vl2.errors import InputError
from vl2.processing.batching import BatchOptions, collate
from vl2.processing.prompt import Prompt
from vl2.processing.tiling import Grid


def prompt(length: int, tiles: int = 0) -> Prompt:
    grids = (Grid(tiles - 1, 1),) if tiles else ()
    return Prompt(
        token_ids=np.arange(1, length + 1),
        image_mask=np.zeros(length, dtype=bool),
        supervised=np.zeros(length, dtype=bool),
        pixel_values=np.full((tiles, 3, 2, 2), length, dtype=np.float32),
        grids=grids,
    )


def batch(prompts, **options):
    ids = [row.token_ids for row in prompts]
    return collate(prompts, {"input_ids": (ids, 9)}, BatchOptions.parse(options))


def test_rows_are_padded_on_the_side_that_is_asked_for():
    rows = [prompt(1), prompt(3)]
    left = batch(rows, padding=True)["input_ids"]
    right = batch(rows, padding="longest", padding_side="right")["input_ids"]
    assert left == [[9, 9, 1], [1, 2, 3]]
    assert right == [[1, 9, 9], [1, 2, 3]]


def test_without_padding_rows_keep_their_lengths():
    assert batch([prompt(1), prompt(3)])["input_ids"] == [[1], [1, 2, 3]]
    assert batch([prompt(1), prompt(3)], padding="do_not_pad")["input_ids"] == [[1], [1, 2, 3]]


def test_tensors_are_padded_in_any_case():
    padded = batch([prompt(1), prompt(3)], return_tensors="np")["input_ids"]
    assert padded.tolist() == [[9, 9, 1], [1, 2, 3]]
    assert padded.dtype == np.int64


@pytest.mark.parametrize(
    ("options", "length"),
    [
        ({"pad_to_multiple_of": 8}, 8),
        ({"pad_to_multiple_of": 3}, 3),
        ({"max_length": 5}, 3),
        ({"padding": "max_length", "max_length": 5}, 5),
        ({"padding": "max_length", "max_length": 2}, 3),
    ],
)
def test_lengths(options, length):
    rows = batch([prompt(1), prompt(3)], **{"padding": True, **options})["input_ids"]
    assert [len(row) for row in rows] == [length, length]


def test_pictures_of_all_rows_follow_one_another():
    made = batch([prompt(1, tiles=2), prompt(3), prompt(2, tiles=4)], padding=True)
    assert made["pixel_values"][:, 0, 0, 0].tolist() == [1, 1, 2, 2, 2, 2]
    assert made["images_spatial_crop"].tolist() == [[1, 1], [3, 1]]


def test_without_pictures_there_are_no_tensors_of_them():
    assert batch([prompt(1)]).keys() == {"input_ids"}


def test_an_empty_batch_is_refused():
    with pytest.raises(InputError, match="at least one prompt"):
        batch([])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding_side": "top"}, "padding_side must be left or right, got 'top'"),
        ({"padding": "most"}, "padding must be"),
        ({"video_fps": 3, "colour": 1}, "no option colour, video_fps"),
        ({"text_kwargs": {"colour": 1}}, "no option colour"),
    ],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        BatchOptions.parse(options)


def test_options_come_flat_or_in_groups():
    flat = BatchOptions.parse({"padding": True, "max_tiles": 2, "max_length": None})
    grouped = BatchOptions.parse(
        {"text_kwargs": {"padding": True}, "images_kwargs": {"max_tiles": 2}, "common_kwargs": None}
    )
    assert flat == grouped == BatchOptions(padding=True, max_tiles=2)
