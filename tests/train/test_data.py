import base64
import json

import numpy as np
import PIL.Image
import pytest

from vl2.errors import InputError
from vl2.processing.prompt import Prompt
from vl2.processing.tiling import Grid
from vl2.synth.export import ROWS, write
from vl2.train.data import whole_turns
from vl2.train.order import Mixture
from vl2.train.rows import BadRowError, JsonRows

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


def mixture(path, seed=0):
    return Mixture([JsonRows(path)], [1.0], seed)


def test_every_epoch_has_every_line_once_in_another_order(rows):
    data = mixture(rows, seed=3)
    first = [answer(data(index)) for index in range(5)]
    second = [answer(data(index)) for index in range(5, 10)]
    assert sorted(first) == sorted(second) == [f"red {i}" for i in range(5)]
    assert first != second
    assert first == [answer(mixture(rows, seed=3)(index)) for index in range(5)]


def test_a_bad_line_is_named(rows):
    rows.write_text('\n\n{"messages": [}\n', encoding="utf-8")
    with pytest.raises(BadRowError, match=r"rows.jsonl, line 3: "):
        JsonRows(rows)(0)


OUTSIDE = [
    {"role": "user", "content": "<image>", "images": ["../x.png"]},
    {"role": "user", "content": [{"type": "image", "path": "/etc/x.png"}]},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/x.png"}}]},
]


@pytest.mark.parametrize("message", OUTSIDE)
def test_a_picture_outside_the_folder_is_refused(rows, message):
    rows.write_text(json.dumps({"messages": [message]}), encoding="utf-8")
    with pytest.raises(BadRowError, match="outside the data file's folder"):
        JsonRows(rows)(0)


def test_pictures_may_lie_in_another_folder_that_is_named(rows, tmp_path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    moved = other / "rows.jsonl"
    rows.rename(moved)
    source = JsonRows(moved, tmp_path)(0).conversation.images[0].source
    assert source == str(tmp_path / "red.png")


def test_content_parts_and_bytes_are_read(rows):
    encoded = base64.b64encode((rows.parent / "red.png").read_bytes()).decode()
    parts = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}},
        {"type": "image_url", "image_url": {"url": "red.png"}},
        {"type": "text", "text": "Which?"},
    ]
    row = {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "x"}]}
    rows.write_text(json.dumps(row), encoding="utf-8")
    one, two = JsonRows(rows)(0).conversation.images
    assert one.source == (rows.parent / "red.png").read_bytes()
    assert two.source == str(rows.parent / "red.png")


def test_rendered_rows_are_read(tmp_path):
    write(tmp_path, "train", 0, 2)
    conversation = JsonRows(tmp_path / ROWS)(0).conversation
    (image,) = conversation.images
    with PIL.Image.open(image.source) as picture:
        assert picture.width > 0


@pytest.mark.parametrize("line", [b"\xff", b"[" * 100_000, b'{"messages": 3}', b"{}", b"[]"])
def test_a_hostile_line_is_told(rows, line):
    rows.write_bytes(line)
    with pytest.raises(BadRowError, match="line 1"):
        JsonRows(rows)(0)


def test_no_file_and_no_lines_are_told(tmp_path):
    with pytest.raises(InputError, match="no data file"):
        JsonRows(tmp_path / "none.jsonl")
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n", encoding="utf-8")
    with pytest.raises(InputError, match="no lines"):
        JsonRows(empty)
