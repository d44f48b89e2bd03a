import json
import sys

from PIL import Image

from vl2.cli import main


def test_pictures_and_rows_are_written_and_the_call_can_be_repeated(tmp_path, capsys):
    out = tmp_path / "data"
    assert main(["synth", "--out", str(out), "--count", "3", "--seed", "4"]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(out / "rows.jsonl")
    assert "3 of 3 pictures" in captured.err
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text("utf-8").splitlines()]
    assert [row["seed"] for row in rows] == [4, 5, 6]
    assert main(["synth", "--out", str(out), "--count", "4", "--seed", "4"]) == 0
    assert "Rendered: 1." in capsys.readouterr().err
    assert len((out / "rows.jsonl").read_text("utf-8").splitlines()) == 4


def test_missing_fonts_are_told_before_anything_is_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["synth", "--out", str(tmp_path / "data"), "--count", "1"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("vl2: Rendering pictures")
    assert err.count("\n") == 1
    assert not (tmp_path / "data").exists()
    assert main(["eval", "synth", "--count", "1", "--model", "absent"]) == 2
    assert "vl2[eval]" in capsys.readouterr().err


def test_a_preview_is_one_picture(tmp_path, capsys):
    out = tmp_path / "preview.png"
    assert main(["synth", "--preview", str(out), "--split", "heldout", "--boxes"]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    with Image.open(out) as sheet:
        assert sheet.width > 1000


def test_wrong_calls_say_what_is_wrong_and_leave_with_2(tmp_path, capsys):
    calls = [
        (["synth"], "--out"),
        (["synth", "--out", "a", "--preview", "b.png"], "--out"),
        (["synth", "--preview", str(tmp_path / "absent" / "p.png")], "cannot be written"),
        (["synth", "--preview", str(tmp_path / "p.nonsense")], "cannot be written"),
        (["synth", "--out", str(tmp_path), "--split", "exam"], "vl2: There is no split 'exam'"),
        (["synth", "--preview", "p.png", "--split", "exam"], "vl2: There is no split 'exam'"),
        (["synth", "--out", str(tmp_path / ("n" * 300))], "cannot be written"),
        (["synth", "--out", str(tmp_path), "--seed", "-1"], "--seed"),
    ]
    for call, part in calls:
        assert main(call) == 2
        assert part in capsys.readouterr().err
