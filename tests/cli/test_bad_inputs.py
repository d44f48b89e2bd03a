"""What people get wrong: each mistake is one clear sentence and exit code 2."""

import shutil
import struct
import warnings
import zlib
from pathlib import Path

import pytest
from broken import BROKEN
from golden import GOLDEN, checkpoint

from vl2 import cli

PICTURE = GOLDEN / "images" / "97x61.png"


def png_of(width: int, height: int) -> bytes:
    """A PNG file that claims a size and holds a single row of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 + 3 * width))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


PICTURES = {
    "zero bytes": (b"", "0 bytes"),
    "truncated": (PICTURE.read_bytes()[:400], "broken or incomplete"),
    "a text file named .png": (b"no picture\n" * 9, "not a picture"),
    "a bomb": (png_of(60000, 60000), "pixels"),
    "another kind of file": (b"%PDF-1.7\n", "vl2 read reads PDFs"),
}


def refused(capsys, words: list[str], said: str) -> None:
    """Runs a command line that must fail with one sentence that holds `said`."""
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.startswith("vl2: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(capsys, tmp_path, name) -> None:
    data, said = PICTURES[name]
    file = tmp_path / "picture.png"
    file.write_bytes(data)
    refused(capsys, ["ask", str(file), "What is it?"], said)
    refused(capsys, ["locate", str(file), "it"], said)


def test_pillows_remarks_are_left_out(capsys, tmp_path) -> None:
    file = tmp_path / "large.png"
    file.write_bytes(png_of(9500, 10000))
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        refused(capsys, ["ask", str(file), "What is it?"], "has 9500x10000 pixels")
        refused(capsys, ["chat", str(file)], "has 9500x10000 pixels")
    assert remarks == []


def test_a_picture_that_is_absent_or_a_folder(capsys, tmp_path) -> None:
    refused(capsys, ["ask", str(tmp_path), "What is it?"], "is a folder")
    refused(capsys, ["ask", str(tmp_path / "no.png"), "What is it?"], "does not exist")
    refused(capsys, ["ask", "https://example.org/a.png", "What is it?"], "nothing is fetched")


@pytest.mark.parametrize("question", ["<image>", "<image> <image> <image>?"])
def test_counts_of_places_and_pictures_differ(capsys, question) -> None:
    refused(capsys, ["ask", str(PICTURE), str(PICTURE), question], "but 2 pictures")


def test_too_many_tokens(capsys) -> None:
    words = ["ask", "-q", "--model", str(checkpoint("tiny"))]
    tall = str(GOLDEN / "images" / "800x2300.jpg")
    refused(capsys, [*words, tall, tall, "word " * 1500], "tokens")


@pytest.mark.parametrize("name", BROKEN)
def test_checkpoints(capsys, tmp_path, name) -> None:
    break_it, said = BROKEN[name]
    folder = Path(shutil.copytree(checkpoint("tiny"), tmp_path / "model"))
    break_it(folder)
    refused(capsys, ["ask", "--model", str(folder), str(PICTURE), "What is it?"], said)


def test_models_that_are_not_there(capsys, tmp_path) -> None:
    ask = ["ask", str(PICTURE), "What is it?", "--model"]
    refused(capsys, [*ask, "enormous"], "There is no model 'enormous'")
    refused(capsys, [*ask, str(tmp_path)], "no config.json")
    for name in ("~nobody-of-this-name", "n" * 300):
        refused(capsys, [*ask, name], "There is no model")
        refused(capsys, ["info", name], "There is no model")
    refused(capsys, [*ask, str(PICTURE)], "is a file")


@pytest.mark.parametrize(("option", "value"), [("--device", "gpu"), ("--dtype", "int3")])
def test_devices_and_types(capsys, option, value) -> None:
    words = ["ask", str(PICTURE), "What?", "--model", str(checkpoint("tiny"))]
    refused(capsys, [*words, option, value], repr(value))


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["aks"], "ask"),
        (["ask", str(PICTURE), "What?", "--model", "nanno"], "nano"),
        (["info", "smal"], "small"),
        (["train", "nano-rowz", "--show"], "nano-rows"),
        (["synth", "--out", "absent", "--pictures", "receit"], "receipt"),
        (["synth", "--out", "absent", "--split", "held-out"], "heldout"),
        (["eval", "synth", "--only", "color"], "colour"),
        (["eval", "chartqq"], "chartqa"),
        (["quantize", "nano", "absent", "--scheme", "int44"], "int4"),
    ],
)
def test_the_nearest_name_is_told(capsys, words, near) -> None:
    assert cli.main(words) == 2
    assert f" Did you mean {near!r}?" in capsys.readouterr().err


def test_a_group_without_a_scheme_names_the_option(capsys) -> None:
    refused(capsys, ["bench", "nano", "--group-size", "64"], "--quantize int4")


@pytest.mark.parametrize(
    ("task", "option"),
    [
        ("synth", ["--server", "http://localhost:8000/v1"]),
        ("synth", ["--parallel", "8"]),  # its default, but named
        ("documents", ["--limit", "1"]),
        ("docvqa", ["--only", "word"]),
        ("reproduce", ["--count", "2"]),
    ],
)
def test_options_of_another_evaluation_are_not_left_out_in_silence(capsys, task, option) -> None:
    refused(capsys, ["eval", task, *option], f"{task} has nothing like {option[0]}")
