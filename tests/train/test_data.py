import json

import numpy as np
import PIL.Image
import pytest

from vl2.errors import InputError
from vl2.processing.prompt import Prompt
from vl2.processing.tiling import Grid
from vl2.synth.export import ROWS, write
from vl2.train.data import JsonLines, whole_turns

EOS = 9


def prompt(ids, image=0):
    ids = np.array(ids)
    return Prompt(
        token_ids=ids,
        image_mask=np.arange(len(ids)) < image,
        supervised=ids == EOS,
        pixel_values=np.zeros((0, 3, 2, 2), np.float32),
        grids=(Grid(1, 1),) if image else (),
    )


def test_whole_turns_are_dropped_from_the_end():
    long = prompt([1, 2, 3, EOS, 4, 5, EOS, 6, EOS], image=2)
    assert whole_turns(long, 9, EOS) is long
    assert whole_turns(long, 8, EOS).token_ids.tolist() == [1, 2, 3, EOS, 4, 5, EOS]
    assert whole_turns(long, 5, EOS).token_ids.tolist() == [1, 2, 3, EOS]


def test_a_first_turn_that_does_not_fit_is_told():
    with pytest.raises(InputError, match="raise max_tokens"):
        whole_turns(prompt([1, 2, 3, EOS, 4, EOS]), 3, EOS)


def test_a_picture_is_never_cut_off():
    ids = [1, EOS, 7, 7, 7, 2, EOS]
    cut = prompt(ids)
    cut = Prompt(cut.token_ids, np.array(ids) == 7, cut.supervised, cut.pixel_values, (Grid(1, 1),))
    with pytest.raises(InputError, match="last picture"):
        whole_turns(cut, 5, EOS)


@pytest.fixture
def rows(tmp_path):
    PIL.Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    lines = [
        {
            "messages": [
                {"role": "<|User|>", "content": "<image>\nWhich?", "images": ["red.png"]},
                {"role": "<|Assistant|>", "content": f"red {i}"},
            ]
        }
        for i in range(5)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n", encoding="utf-8")
    return path


def answer(lesson):
    return lesson.conversation.messages[-1].parts[-1].text


def test_every_epoch_has_every_line_once_in_another_order(rows):
    data = JsonLines(rows, seed=3)
    first = [answer(data(index)) for index in range(5)]
    second = [answer(data(index)) for index in range(5, 10)]
    assert sorted(first) == sorted(second) == [f"red {i}" for i in range(5)]
    assert first != second
    assert first == [answer(JsonLines(rows, seed=3)(index)) for index in range(5)]


def test_a_bad_line_is_named(rows):
    rows.write_text('{"messages": [}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"rows.jsonl, line 1"):
        JsonLines(rows, seed=0)(0)


OUTSIDE = [
    {"role": "user", "content": "<image>", "images": ["../x.png"]},
    {"role": "user", "content": [{"type": "image", "path": "/etc/x.png"}]},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/x.png"}}]},
]


@pytest.mark.parametrize("message", OUTSIDE)
def test_a_picture_outside_the_folder_is_refused(rows, message):
    rows.write_text(json.dumps({"messages": [message]}), encoding="utf-8")
    with pytest.raises(InputError, match="outside the data file's folder"):
        JsonLines(rows, seed=0)(0)


def test_rendered_rows_are_read(tmp_path):
    write(tmp_path, "train", 0, 2)
    conversation = JsonLines(tmp_path / ROWS, seed=0)(0).conversation
    (image,) = conversation.images
    with PIL.Image.open(image.source) as picture:
        assert picture.width > 0


@pytest.mark.parametrize("line", [b"\xff", b"[" * 100_000, b'{"messages": 3}', b"{}"])
def test_a_hostile_line_is_told(rows, line):
    rows.write_bytes(line)
    with pytest.raises(InputError, match="line 1"):
        JsonLines(rows, seed=0)(0)


def test_no_file_and_no_lines_are_told(tmp_path):
    with pytest.raises(InputError, match="no data file"):
        JsonLines(tmp_path / "none.jsonl", seed=0)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n", encoding="utf-8")
    with pytest.raises(InputError, match="no lines"):
        JsonLines(empty, seed=0)
