import json
import sys

from PIL import Image

from vl2.cli import main


def test_pictures_and_rows_are_written_and_the_call_can_be_repeated(tmp_path, capsys):
    out = tmp_path / "data"
    assert main(["synth", "--out", str(out), "--count", "3", "--seed", "4"]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(out / "rows.jsonl")
    assert captured.err == "Rendered: 3.\n"
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


def test_one_kind_is_rendered_and_can_be_learnt_from(tmp_path, capsys):
    out = tmp_path / "data"
    call = ["synth", "--out", str(out), "--count", "6"]
    kinds = ["--pictures", "album=3", "--pictures", "talk"]
    assert main([*call, *kinds]) == 0
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text("utf-8").splitlines()]
    assert {len(row["images"]) for row in rows} <= {0, 3, 4}
    assert rows[0]["kinds"] == {"album": 3.0, "talk": 1.0}
    pictures = [name for row in rows for name in row["images"]]
    assert len(pictures) == len(set(pictures))
    assert all((out / name).is_file() for name in pictures)
    capsys.readouterr()
    assert main(["data", "check", str(out / "rows.jsonl")]) == 0
    assert "6 rows, 6 good, 0 bad" in capsys.readouterr().out
    assert main([*call, *kinds]) == 0
    assert main(call) == 2
    assert "empty folder" in capsys.readouterr().err


def test_what_a_folder_was_made_with_is_told_as_options(tmp_path, capsys):
    out = tmp_path / "data"
    call = ["synth", "--out", str(out), "--count", "2", "--pictures", "talk"]
    assert main(call) == 0
    capsys.readouterr()
    assert main([*call, "--seed", "7"]) == 2
    err = capsys.readouterr().err
    assert "was made with --seed 0; this call says --seed 7: " in err
    assert main([*call[:-2], "--split", "heldout"]) == 2
    err = capsys.readouterr().err
    assert "was made with --split train --pictures talk=1; this call says --split heldout" in err
    assert "{" not in err
    first, second = (out / "rows.jsonl").read_bytes().splitlines(keepends=True)
    (out / "rows.jsonl").write_bytes(first + first)
    assert main(call) == 2
    assert "not those of 2 seeds in turn" in capsys.readouterr().err
    (out / "rows.jsonl").write_bytes(b"[]\n" + second)
    assert main(call) == 2
    assert "were not rendered" in capsys.readouterr().err


def test_the_preview_shows_the_named_kinds_in_turn(tmp_path):
    one, both = tmp_path / "one.png", tmp_path / "both.png"
    assert main(["synth", "--preview", str(one), "--pictures", "form"]) == 0
    kinds = ["--pictures", "form", "--pictures", "story"]
    assert main(["synth", "--preview", str(both), *kinds]) == 0
    with Image.open(one) as first, Image.open(both) as second:
        cards = [(0, 0, 640, 290), (640, 0, 1280, 290)]
        same = [first.crop(box).tobytes() == second.crop(box).tobytes() for box in cards]
    assert same == [True, False]


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
        (["synth", "--preview", "p.png", "--pictures", "films"], "no kind of picture 'films'"),
        (["synth", "--preview", "p.png", "--pictures", "form=much"], "positive number"),
        (["synth", "--preview", "p.png", "--pictures", "form=-1"], "positive number"),
    ]
    for call, part in calls:
        assert main(call) == 2
        err = capsys.readouterr().err
        assert part in err
        assert err.startswith(("vl2: ", "Usage: "))
    assert not list(tmp_path.iterdir())
