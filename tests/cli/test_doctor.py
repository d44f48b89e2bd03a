"""`vl2 doctor`: a table for people, JSON for programs, and a code that tells."""

import json
import shutil

import pytest
from golden import checkpoint

from vl2 import cli


def test_a_sound_model(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main(["doctor", str(checkpoint("tiny")), "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["files", "fine"]
    assert lines[-1].split()[:2] == ["answer", "fine"]


def test_a_broken_model(tmp_path, capsys):
    folder = shutil.copytree(checkpoint("tiny"), tmp_path / "model")
    (folder / "model.safetensors").unlink()
    assert cli.main(["doctor", str(folder)]) == 1
    first, advice = capsys.readouterr().out.splitlines()
    assert first.split(maxsplit=2) == ["files", "wrong", "model.safetensors is missing."]
    assert advice.strip() == "Download the checkpoint again."
    assert cli.main(["doctor", str(folder), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["wrong"] is True
    assert report["checks"][0]["check"] == "files"


@pytest.mark.parametrize("columns", [80, 60])
def test_lines_fit_the_terminal_and_hang(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert cli.main(["doctor", str(checkpoint("tiny")), "--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert all(line[25] == " " for line in lines)
    assert any(line.startswith(" " * 26) for line in lines)


def test_half_a_download_is_told_with_one_remedy(tmp_path, capsys):
    folder = shutil.copytree(checkpoint("tiny"), tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:4000])
    assert cli.main(["doctor", str(folder)]) == 1
    out = capsys.readouterr().out
    assert out.count("wrong") > 1
    assert out.count("again") == 1


@pytest.mark.parametrize("words", [["absent"], ["nano", "--device", "abacus"]])
def test_what_cannot_be_examined_is_told(words, capsys):
    assert cli.main(["doctor", *words]) == 2
    assert capsys.readouterr().err.startswith("vl2: ")
