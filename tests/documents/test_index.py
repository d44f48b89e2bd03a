"""The index lists every document once a path, in Parquet or lines of JSON."""

import json
import sys

import pytest

from vl2.documents.index import COLUMNS, LINES, PARQUET, read_index, write_index
from vl2.documents.readers import Usage
from vl2.documents.results import Outcome
from vl2.errors import InputError


def outcome(path, **changed):
    values = {"folder": f"{path}-0f", "status": "ok", "pages": 2, "read": 2, "digest": "ab"}
    return Outcome(path, usage=Usage(1, 2, 3), **{**values, **changed})


@pytest.fixture(params=["parquet", "lines"])
def kind(request, monkeypatch):
    if request.param == "lines":
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    return request.param


def test_rows_come_back(tmp_path, kind):
    hostile = outcome("b\udce9", fields={"total": "\ud800 12"}, error="x")
    path = write_index(tmp_path, [outcome("c"), hostile])
    assert path.name == (PARQUET if kind == "parquet" else LINES)
    rows = list(read_index(tmp_path))
    assert [row["path"] for row in rows] == ["b?", "c"]
    assert list(rows[0]) == list(COLUMNS)
    assert json.loads(rows[0]["fields"]).keys() == {"total"}
    assert (rows[1]["fields"], rows[1]["completion_tokens"], rows[1]["error"]) == (None, 3, None)


def test_an_index_is_added_to_and_paths_read_again_are_replaced(tmp_path, kind):
    write_index(tmp_path, [outcome("a"), outcome("b", status="error")])
    write_index(tmp_path, [outcome("b"), outcome("c")])
    rows = [(row["path"], row["status"]) for row in read_index(tmp_path)]
    assert rows == [("a", "ok"), ("b", "ok"), ("c", "ok")]


def test_an_index_of_nothing_is_an_index(tmp_path, kind):
    write_index(tmp_path, [])
    assert list(read_index(tmp_path)) == []


def test_where_pyarrow_comes_later_the_lines_are_taken_over(tmp_path, monkeypatch):
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pyarrow", None)
        write_index(tmp_path, [outcome("a")])
    write_index(tmp_path, [outcome("b")])
    assert [row["path"] for row in read_index(tmp_path)] == ["a", "b"]
    assert not (tmp_path / LINES).exists()


def test_rows_that_cannot_be_read_are_not_lost(tmp_path, monkeypatch):
    write_index(tmp_path, [outcome("a")])
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(InputError, match="pip install pyarrow"):
            write_index(tmp_path, [outcome("b")])
        assert not (tmp_path / LINES).exists()
    assert [row["path"] for row in read_index(tmp_path)] == ["a"]


def test_a_broken_index_is_made_anew(tmp_path):
    (tmp_path / PARQUET).write_bytes(b"PAR1 nonsense")
    write_index(tmp_path, [outcome("a")])
    assert len(list(read_index(tmp_path))) == 1
    (tmp_path / PARQUET).unlink()
    (tmp_path / LINES).write_text('{"half": 1}\n{"ha')
    write_index(tmp_path, [outcome("a")])
    assert len(list(read_index(tmp_path))) == 1
