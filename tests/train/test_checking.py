import json
import sys

import PIL.Image
import pytest
from golden import checkpoint

from vl2.cli import main

GOOD = [
    {"role": "user", "content": "<image>\nWhere?", "images": ["red.png"]},
    {"role": "assistant", "content": "<|ref|>it<|/ref|><|det|>[[0, 1, 999, 20]]<|/det|>"},
]


def asked(answer, *images, question="<image>\nWhere?"):
    return [
        {"role": "user", "content": question, "images": list(images)},
        {"role": "assistant", "content": answer},
    ]


BAD = {
    "does not exist": asked("x", "absent.png"),
    "1 times but 0 pictures": asked("x"),
    "2 times but 1 pictures": asked("x", "red.png", question="<image><image>"),
    "outside the data file's folder": asked("x", "../red.png"),
    "tokens": asked("x " * 5000, "red.png"),
    "coordinate 1000, outside 0..999": asked("<|det|>[[1, 2, 3, 1000]]<|/det|>", "red.png"),
    "has 3 numbers": asked("<|det|>[[1, 2, 3]]<|/det|>", "red.png"),
    "ends before it begins": asked("<|det|>[[9, 2, 3, 10]]<|/det|>", "red.png"),
    "do not come in pairs": asked("<|det|>[[1, 2, 3, 4]]", "red.png"),
    "an answer is empty": [*asked("", "red.png"), *asked("x", question="And?")],
    "no answer": GOOD[:1],
    "half.png' is broken": asked("x", "half.png"),
    "pip install 'vl2[heic]'": asked("x", "phone.jpg"),
}


@pytest.fixture
def rows(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    (tmp_path / "phone.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
    PIL.Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    PIL.Image.effect_noise((60, 60), 50).save(tmp_path / "whole.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:1500])
    return tmp_path / "rows.jsonl"


def check(rows, *lines, more=()):
    rows.write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = ["data", "check", str(rows), "--model", str(checkpoint("tiny")), *more]
    return main(words)


def test_good_rows_are_counted(rows, capsys):
    assert check(rows, json.dumps({"messages": GOOD}), json.dumps({"messages": GOOD})) == 0
    printed = capsys.readouterr().out
    assert "2 rows, 2 good, 0 bad" in printed
    assert "2 rows with pictures, 4 tiles" in printed


@pytest.mark.parametrize("told", BAD)
def test_a_bad_row_is_named(rows, told, capsys):
    lines = [json.dumps({"messages": GOOD}), json.dumps({"messages": BAD[told]})]
    assert check(rows, *lines, more=["--decode"]) == 1
    printed = capsys.readouterr().out
    assert "2 rows, 1 good, 1 bad" in printed
    assert f"{rows}, line 2: " in printed
    assert told in printed


def test_a_report_can_be_read_by_programs(rows, capsys):
    assert check(rows, "{", json.dumps({"messages": GOOD}), more=["--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["rows"], report["bad"], report["pictured"]) == (2, 1, 1)
    assert report["supervised"] < report["tokens"] == report["longest"]


def test_another_action_is_told(rows, capsys):
    assert main(["data", "mix", str(rows)]) == 2
    assert "vl2 data check PATH" in capsys.readouterr().err


def test_rows_may_be_as_long_as_the_model_can_read(rows, capsys):
    """The context of nano holds 2048 tokens, that of the releases 4096."""
    line = json.dumps({"messages": asked("zq " * 1100, "red.png")})
    assert check(rows, line) == 0
    assert check(rows, line, more=["--model", "nano"]) == 1
    assert "and a row holds 2048" in capsys.readouterr().out
    assert check(rows, line, more=["--model", "nano", "--max-tokens", "2048"]) == 1
    assert check(rows, line, more=["--model", "nano", "--max-tokens", "2049"]) == 2
    told = capsys.readouterr().err
    assert "reads 2048 tokens at most, and rows of 2049 were allowed" in told
    assert "--max-tokens 2048 or less" in told
