"""A file is there as a whole or not at all."""

import pytest

from vl2.documents.files import clear_parts, held, read_json, whole, write, write_json
from vl2.errors import InputError


def test_an_error_leaves_the_old_file_and_no_part(tmp_path):
    path = tmp_path / "a.txt"
    write(path, "old")

    def fail():
        with whole(path) as file:
            file.write(b"half")
            file.flush()
            assert path.read_text() == "old"
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_what_killed_processes_left_is_taken_away(tmp_path):
    (tmp_path / ".a.txt.77.part").write_text("half")
    write(tmp_path / "b.part", "kept")
    clear_parts(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.part"]


def test_halves_of_characters_are_written_as_something(tmp_path):
    write_json(tmp_path / "a.json", {"text": "\ud800 \u00e9"})
    assert read_json(tmp_path / "a.json") == {"text": "? \u00e9"}


def test_what_is_no_json_is_nothing(tmp_path):
    path = tmp_path / "a.json"
    for text in ("", "{", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "[" * 9999):
        path.write_text(text, encoding="latin-1")
        assert read_json(path) is None
    assert read_json(tmp_path / "nowhere.json") is None
    write_json(path, [1])
    assert read_json(path, lambda value: isinstance(value, dict)) is None


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path):
    (tmp_path / ".lock").mkdir()
    with pytest.raises(InputError, match="cannot be written to"), held(tmp_path):
        pass
