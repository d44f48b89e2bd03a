import json

import pytest
from PIL import Image

from vl2.chat import as_conversation
from vl2.errors import InputError
from vl2.synth import rows, sample
from vl2.synth.export import ROWS, messages, write


def test_rows_are_conversations_with_their_pictures():
    found = list(rows("train", 5, 3))
    assert len(found) == 3
    for seed, row in enumerate(found, 5):
        conversation = as_conversation(row["messages"], row["images"])
        assert len(conversation.images) == 1
        expected = sample(seed)
        assert conversation.images[0].source.tobytes() == expected.images[0].tobytes()
        assert len(conversation.messages) == 2 * len(expected.turns)
        assert row["messages"][1]["content"][0]["text"] == expected.turns[0].answer


def test_written_rows_name_pictures_that_are_there(tmp_path):
    assert write(tmp_path, "heldout", 3, 4) == 4
    lines = [json.loads(line) for line in (tmp_path / ROWS).read_text("utf-8").splitlines()]
    assert [line["seed"] for line in lines] == [3, 4, 5, 6]
    for line in lines:
        expected = sample(line["seed"], "heldout")
        assert line["messages"] == messages(expected)
        with Image.open(tmp_path / line["images"][0]) as picture:
            assert picture.tobytes() == expected.images[0].tobytes()


def test_writing_goes_on_where_it_stopped(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    write(whole, "train", 0, 5)
    write(parts, "train", 0, 3)
    with (parts / ROWS).open("a") as file:
        file.write('{"messages": [{"role": "us')  # a row that was cut off
    seen = []
    assert write(parts, "train", 0, 5, progress=seen.append) == 2
    assert seen == [3, 4, 5]
    assert (parts / ROWS).read_bytes() == (whole / ROWS).read_bytes()
    assert write(parts, "train", 0, 5) == 0


def test_rows_of_another_kind_are_not_mixed_in(tmp_path):
    write(tmp_path, "train", 0, 1)
    for split, start in (("heldout", 0), ("train", 1)):
        with pytest.raises(InputError, match="empty folder"):
            write(tmp_path, split, start, 2)


def test_a_file_is_no_folder(tmp_path):
    target = tmp_path / "file"
    target.write_text("x")
    with pytest.raises(InputError, match="is a file"):
        write(target, "train", 0, 1)
