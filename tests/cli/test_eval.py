"""`vl2 eval`: where scores are kept, told before the work."""

import json

import pytest

from vl2 import cli
from vl2.engine import loading
from vl2.evals import synth


@pytest.fixture
def measured(monkeypatch):
    """Stands in for a model; returns the tasks that were measured."""
    tasks = []

    def evaluate(model, processor, task, count, **_):
        tasks.append(task)
        return synth.TaskScore(task, count, count)

    monkeypatch.setattr(loading, "load_parts", lambda name, device, dtype: (None, None))
    monkeypatch.setattr(synth, "evaluate", evaluate)
    return tasks


@pytest.mark.parametrize("place", ["file/scores.json", "file/folder/scores.json"])
def test_a_place_that_cannot_be_written_to_is_told_before_the_work(
    measured, tmp_path, capsys, place
):
    (tmp_path / "file").touch()
    assert cli.main(["eval", "synth", "--count", "2", "--out", str(tmp_path / place)]) == 2
    err = capsys.readouterr().err
    assert "cannot be written to" in err
    assert err.count("\n") == 1
    assert measured == []


@pytest.mark.parametrize("place", [".", "n" * 300])
def test_a_name_that_is_no_file(measured, tmp_path, capsys, place):
    assert cli.main(["eval", "synth", "--out", str(tmp_path / place)]) == 2
    assert "is not a file of scores" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[" * 100_000, "[]", "\xff"])
def test_a_file_of_something_else_is_left_alone(measured, tmp_path, capsys, text):
    out = tmp_path / "scores.json"
    out.write_text(text, encoding="latin-1")
    assert cli.main(["eval", "synth", "--out", str(out)]) == 2
    assert "is not a file of scores" in capsys.readouterr().err
    assert out.read_text(encoding="latin-1") == text


def test_scores_are_kept_task_by_task(measured, tmp_path, capsys):
    out = tmp_path / "new" / "scores.json"
    words = ["eval", "synth", "--count", "2", "--only", "word", "--out", str(out)]
    assert cli.main(words) == 0
    assert measured == ["word"]
    assert json.loads(out.read_text(encoding="utf-8"))["scores"]["word"]["right"] == 2
    assert cli.main(words) == 0
    assert measured == ["word"]
    assert out.with_suffix(".png").is_file()
    assert cli.main([*words, "--max-tiles", "1"]) == 2
    assert "all local tiles: name another file" in capsys.readouterr().err
    assert cli.main(words) == 0
    assert "100.0 %" in capsys.readouterr().out


def test_scores_fit_into_80_columns(measured, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    tasks = ("grounded_caption", "chart_difference")
    assert cli.main(["eval", "synth", *(word for t in tasks for word in ("--only", t))]) == 0
    rows = capsys.readouterr().out.splitlines()
    for task in tasks:
        assert [row.split()[1:7:2] for row in rows if task in row] == [[task, "500", "500"]]
    assert not any("…" in row for row in rows)
