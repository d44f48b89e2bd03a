"""`vl2 locate`: boxes on standard output."""

import json

import PIL.Image
import pytest
from golden import GOLDEN
from scripted import boxes, scripted

from vl2 import cli, engine

LARGE = str(GOLDEN / "images" / "640x480.png")


@pytest.fixture
def model(monkeypatch):
    """Makes the verb load a model that gives these answers; returns its engine."""

    def answers(*texts: str):
        assistant, asked = scripted(*texts)
        monkeypatch.setattr(engine, "load", lambda name, device, dtype, memory=None: assistant)
        return asked

    return answers


def test_one_line_a_box(model, capsys) -> None:
    asked = model(boxes("the red box", (0, 0, 500, 500), (10, 20, 30, 40)))
    assert cli.main(["locate", LARGE, "the red box"]) == 0
    assert capsys.readouterr().out == (
        "[0, 0, 320, 240] the red box\n[6, 10, 19, 19] the red box\n"
    )
    assert len(asked.requests) == 1


def test_what_is_not_there(model, capsys, tmp_path) -> None:
    model("There is no <|ref|>cat<|/ref|>.")
    target = tmp_path / "out.png"
    assert cli.main(["locate", LARGE, "the cat", "--draw", str(target)]) == 0
    out, err = capsys.readouterr()
    assert out == "There is no cat.\n"
    assert "no boxes drawn" in err
    assert PIL.Image.open(target).tobytes() == PIL.Image.open(LARGE).convert("RGB").tobytes()


def test_json_and_drawing(model, capsys, tmp_path) -> None:
    text = boxes("it", (100, 100, 900, 900))
    model(text)
    target = tmp_path / "out.png"
    assert cli.main(["locate", LARGE, "it", "--json", "--draw", str(target)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["text"] == text
    assert shown["boxes"] == [{"label": "it", "box": [64.1, 48.0, 576.6, 432.4]}]
    assert PIL.Image.open(target).size == (640, 480)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.png", "it"], "'nowhere.png' does not exist"),
        ([LARGE, " "], "nothing to look for"),
        ([LARGE, "<|ref|>it"], "grounding tag"),
        ([LARGE, "it", "--draw", "out.doc"], "'out.doc'"),
    ],
)
def test_bad_input_is_told_before_a_model_is_loaded(monkeypatch, capsys, words, said) -> None:
    monkeypatch.setattr(engine, "load", None)
    assert cli.main(["locate", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
