"""`vl2 ask`: what goes to standard output, what to standard error, and what is refused."""

import io
import json
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest
from golden import GOLDEN, checkpoint
from scripted import boxes, scripted

from vl2 import cli, engine

PICTURE = str(GOLDEN / "images" / "97x61.png")
LARGE = str(GOLDEN / "images" / "640x480.png")


@pytest.fixture
def model(monkeypatch):
    """Makes the verb load a model that gives these answers; returns its engine."""

    def answers(*texts: str, reason: str = "stop"):
        assistant, asked = scripted(*texts, reason=reason)
        monkeypatch.setattr(engine, "load", lambda name, device, dtype, memory=None: assistant)
        return asked

    return answers


def stdin(monkeypatch, data: bytes, *, terminal: bool = False) -> None:
    stream = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
    stream.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stdin", stream)


def test_the_answer_goes_to_standard_output_and_notes_to_standard_error(
    model, capsys, monkeypatch
) -> None:
    asked = model("A red box.")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert cli.main(["ask", PICTURE, "What is it?"]) == 0
    out, err = capsys.readouterr()
    assert out == "A red box.\n"
    assert "vl2-nano" in err
    assert "--model tiny" in err
    assert len(asked.requests[0].prompt.grids) == 1


def test_nobody_at_a_terminal_needs_no_introduction(model, capsys) -> None:
    model("A red box.")
    assert cli.main(["ask", PICTURE, "What is it?"]) == 0
    assert capsys.readouterr() == ("A red box.\n", "")


def test_quiet(model, capsys) -> None:
    model("A red box.", reason="length")
    assert cli.main(["ask", PICTURE, "What is it?", "--quiet"]) == 0
    assert capsys.readouterr() == ("A red box.\n", "")


def test_boxes_follow_the_readable_answer(model, capsys) -> None:
    model("Two " + boxes("dogs", (0, 0, 500, 500), (500, 500, 999, 999)) + " run.")
    assert cli.main(["ask", LARGE, "<|grounding|>Describe it."]) == 0
    assert capsys.readouterr().out == (
        "Two dogs run.\n[0, 0, 320, 240] dogs\n[320, 240, 640, 480] dogs\n"
    )


def test_json(model, capsys) -> None:
    text = "Ein Bär " + boxes("Bär", (0, 0, 999, 999))
    asked = model(text)
    assert cli.main(["ask", PICTURE, "Was?", "--json"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "Bär" in out
    shown = json.loads(out)
    assert set(shown) == {"text", "boxes", "usage"}
    assert shown["text"] == text
    assert shown["boxes"] == [{"label": "Bär", "box": [0.0, 0.0, 97.0, 61.0]}]
    assert shown["usage"]["prompt_tokens"] == len(asked.requests[0].prompt)


def test_draw(model, capsys, tmp_path) -> None:
    model(boxes("it", (100, 100, 900, 900)))
    target = tmp_path / "out.png"
    assert cli.main(["ask", LARGE, "Where?", "--draw", str(target)]) == 0
    assert "1 box drawn" in capsys.readouterr().err
    drawn, plain = PIL.Image.open(target), PIL.Image.open(LARGE).convert("RGB")
    assert drawn.size == plain.size
    assert drawn.getpixel((320, 48)) != plain.getpixel((320, 48))
    assert drawn.getpixel((320, 300)) == plain.getpixel((320, 300))


def test_drawing_tells_what_it_cannot_show(model, capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("VL2_FONT", raising=False)
    monkeypatch.setattr("vl2.grounding.fonts._INSTALLED", ())
    model(boxes("图", (100, 100, 900, 900)))
    assert cli.main(["ask", LARGE, "Where?", "--draw", str(tmp_path / "out.jpg"), "-q"]) == 0
    err = capsys.readouterr().err
    assert "U+56FE" in err
    assert "VL2_FONT" in err


def test_options_reach_the_model(model) -> None:
    asked = model("a")
    words = ["--temperature", "0.5", "--top-p", "0.9", "--max-tokens", "7"]
    words += ["--seed", "3", "--max-tiles", "1"]
    assert cli.main(["ask", *words, LARGE, PICTURE, "Which?"]) == 0
    sampling = asked.requests[0].sampling
    assert (sampling.temperature, sampling.top_p) == (0.5, 0.9)
    assert (sampling.max_tokens, sampling.seed) == (7, 3)
    assert len(asked.requests[0].prompt.pixel_values) == 4


def test_a_picture_from_standard_input(model, monkeypatch) -> None:
    asked = model("a")
    stdin(monkeypatch, Path(PICTURE).read_bytes())
    assert cli.main(["ask", "-", "What?"]) == 0
    assert len(asked.requests[0].prompt.grids) == 1


def test_an_answer_that_was_cut_is_told(model, capsys) -> None:
    model("A very", reason="length")
    assert cli.main(["ask", PICTURE, "What?"]) == 0
    assert "cut after 6 tokens" in capsys.readouterr().err


def test_an_answer_cannot_steer_the_terminal(model, capsys) -> None:
    model("\x1b[2Jgone\x07\r but\ttabs\nstay " + boxes("a\x1b[1m\nb", (0, 0, 9, 9)))
    assert cli.main(["ask", PICTURE, "What?"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert out.startswith("[2Jgone but\ttabs\nstay a[1m\nb\n[0, 0, 1, 1] a[1m b\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([PICTURE], "question"),
        (["What?", PICTURE], "question"),
        ([PICTURE, "-"], "question"),
        ([PICTURE, "  "], "empty"),
        ([PICTURE, ""], "empty"),
        ([PICTURE, str(GOLDEN)], "is a folder"),
        ([PICTURE, "nowhere.PNG"], "no picture 'nowhere.PNG'"),
        (["-", "-", "What?"], "only one"),
        (["What?", "--draw", "out.png"], "no picture to draw on"),
        ([PICTURE, "What?", "--draw", "out.txt"], "'out.txt'"),
        ([PICTURE, "What?", "--draw", "out"], "'out'"),
        ([PICTURE, "What?", "--draw", "nowhere/out.png"], "does not exist"),
        ([PICTURE, "What?", "--top-p", "0"], "top_p"),
        ([PICTURE, "<image> and <image>?"], "2 times but 1"),
    ],
)
def test_wrong_words_are_one_sentence_and_exit_code_two(model, capsys, words, said) -> None:
    asked = model()
    assert cli.main(["ask", "-q", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.startswith("vl2: ")
    assert err.count("\n") == 1
    assert asked.requests == []


@pytest.mark.parametrize(
    ("option", "value"),
    [("--temperature", "-1"), ("--top-p", "2"), ("--max-tokens", "0"), ("--max-tiles", "0")],
)
def test_options_out_of_range_are_wrong_usage(model, capsys, option, value) -> None:
    asked = model()
    assert cli.main(["ask", PICTURE, "What?", option, value]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert option in err
    assert asked.requests == []


@pytest.mark.parametrize(("data", "said"), [(b"", "0 bytes"), (b"text", "not a picture")])
def test_bad_standard_input(model, monkeypatch, capsys, data, said) -> None:
    model()
    stdin(monkeypatch, data)
    assert cli.main(["ask", "-q", "-", "What?"]) == 2
    assert said in capsys.readouterr().err


def test_endless_standard_input_is_not_read_to_its_end(model, monkeypatch, capsys) -> None:
    model()
    stdin(monkeypatch, b"")
    monkeypatch.setattr(sys.stdin.buffer, "read", bytes, raising=False)
    assert cli.main(["ask", "-q", "-", "What?"]) == 2
    assert "more than the allowed 128.0 MiB" in capsys.readouterr().err


def test_a_keyboard_is_no_picture(model, monkeypatch, capsys) -> None:
    model()
    stdin(monkeypatch, b"", terminal=True)
    assert cli.main(["ask", "-q", "-", "What?"]) == 2
    assert "pipe one in" in capsys.readouterr().err


def test_a_closed_standard_input(model, monkeypatch, capsys) -> None:
    model()
    monkeypatch.setattr(sys, "stdin", None)
    assert cli.main(["ask", "-q", "-", "What?"]) == 2
    assert "pipe one in" in capsys.readouterr().err
    assert cli.main(["chat"]) == 2
    assert "Standard input is closed" in capsys.readouterr().err


def test_settings_are_checked_before_the_model_is_loaded(monkeypatch, capsys) -> None:
    monkeypatch.setattr(engine, "load", None)
    for option, value in (("--top-p", "0"), ("--seed", "-1")):
        assert cli.main(["ask", PICTURE, "What?", option, value]) == 2
        assert value in capsys.readouterr().err


def test_offline_and_absent(capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert cli.main(["ask", PICTURE, "What?", "--model", "base"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "https://huggingface.co/deepseek-ai/deepseek-vl2," in err
    assert err.count("\n") == 1


def test_a_real_process_says_nothing_but_the_answer_and_the_notes() -> None:
    words = [sys.executable, "-m", "vl2", "ask", PICTURE, "What?", "--max-tokens", "3"]
    done = subprocess.run(
        [*words, "--model", str(checkpoint("base"))], capture_output=True, check=True
    )
    assert len(done.stdout.decode().removesuffix("\n")) <= 30
    lines = done.stderr.decode().splitlines()
    assert lines == ["vl2: the answer was cut after 3 tokens (see --max-tokens)."]
