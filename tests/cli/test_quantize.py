"""`vl2 quantize`: a folder that every verb takes."""

import json

import pytest

from vl2.cli import main


def test_a_quantised_nano_answers(nano, tmp_path, capsys):
    target = tmp_path / "small-nano"
    assert main(["quantize", "nano", str(target), "--scheme", "int8"]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(target)
    assert " became " in err
    picture = nano.parent / "pictures" / "shapes.png"
    assert main(["ask", str(picture), "What is it?", "--model", str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["usage"]["completion_tokens"] > 0


def test_bits_of_a_part_can_be_chosen(golden, tmp_path, capsys):
    source = str(golden / "checkpoints" / "small")
    words = ["--bits", "head=4", "--bits", "vision=16"]
    assert main(["quantize", source, str(tmp_path / "out"), *words]) == 0
    stored = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
    assert stored["bits"]["head"] == 4
    assert "vision" not in stored["bits"]


def test_scales_can_be_chosen_by_pictures(nano, tmp_path, capsys):
    picture = str(nano.parent / "pictures" / "shapes.png")
    for name, words in (("plain", []), ("calibrated", ["--calibrate", picture])):
        assert main(["quantize", "nano", str(tmp_path / name), *words]) == 0
    weights = [(tmp_path / n / "model.safetensors").read_bytes() for n in ("plain", "calibrated")]
    assert len(weights[0]) == len(weights[1])
    assert weights[0] != weights[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scheme", "int3"], "'int3'"),
        (["--bits", "head"], "'head'"),
        (["--bits", "hat=8"], "'hat'"),
        (["--bits", "head=5"], "not 5"),
    ],
)
def test_wrong_options_are_one_sentence(words, said, golden, tmp_path, capsys):
    source = str(golden / "checkpoints" / "tiny")
    assert main(["quantize", source, str(tmp_path / "out"), *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_no_such_model(tmp_path, capsys):
    assert main(["quantize", str(tmp_path / "nothing"), str(tmp_path / "out")]) == 2
    assert "nothing" in capsys.readouterr().err
