"""`vl2 eval` for benchmarks: a dry run of everything on a golden checkpoint."""

import base64
import json

import pytest
from benchmark_files import SMALL, encoded
from golden import checkpoint

from vl2 import cli
from vl2.evals.benchmarks.reproduce import targets

PICTURE = encoded(SMALL)


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    folder = tmp_path / "data"
    folder.mkdir()
    head = "index\timage\tquestion\tanswer\n"
    rows = [f"{i}\t{PICTURE}\tHow many?\t{i}\n" for i in range(3)]
    (folder / "ChartQA_TEST.tsv").write_text(head + "".join(rows))
    (folder / "OCRBench.tsv").write_text(head + f"0\t{PICTURE}\tRead.\t['x']\n")
    return folder


SHORT = ["--max-tokens", "3", "--parallel", "2", "--device", "cpu"]


def test_one_benchmark(data, capsys):
    file = str(data / "ChartQA_TEST.tsv")
    words = ["eval", "chartqa", "--model", str(checkpoint("tiny")), "--data", file, "--out", "out"]
    assert cli.main([*words, *SHORT, "--limit", "2"]) == 0
    printed = capsys.readouterr()
    assert "relaxed accuracy" in printed.out
    assert "84.5" in printed.out
    assert printed.err == ""
    out = data.parent / "out"
    assert len((out / "predictions.jsonl").read_text().splitlines()) == 2
    assert "How many?" in (out / "report.html").read_text()
    assert json.loads((out / "scores.json").read_text())["questions"] == 2


def test_a_bad_row_is_told_before_a_model_is_loaded(data, capsys):
    file = data / "ChartQA_TEST.tsv"
    file.write_text(file.read_text() + file.read_text().splitlines()[1] + "\n")
    rows = len(file.read_text().splitlines()) - 1
    for words in (["chartqa", "--data", str(file)], ["reproduce", "absent", "--size", "tiny"]):
        folder = ["--data", str(data)] if words[0] == "reproduce" else []
        assert cli.main(["eval", *words, "--model", "absent", *folder]) == 2
        assert f"Row {rows} has the id" in capsys.readouterr().err


def test_questions_that_cannot_be_asked_are_told(data, capsys):
    file = data / "OCRBench.tsv"
    broken = base64.b64encode(b"\x89PNG\r\n" + bytes(60)).decode()
    file.write_text(file.read_text() + f"1\t{broken}\tRead.\t['x']\n")
    words = ["eval", "ocrbench", "--model", str(checkpoint("tiny")), "--data", str(file)]
    assert cli.main([*words, *SHORT]) == 0
    assert "1 of 2 questions could not be asked and count as wrong; the first: " in (
        capsys.readouterr().err
    )


def test_reproducing(data, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    words = ["eval", "reproduce", str(checkpoint("small")), "--size", "small", "--data", str(data)]
    assert cli.main([*words, *SHORT, "--limit", "1", "--out", "out"]) == 0
    printed = capsys.readouterr().out
    rows = [row for row in printed.splitlines() if "falls short" in row or "no data" in row]
    assert len(rows) == len(targets("small", data)), "each in a line of its own"
    assert any("VLMEvalKit #697" in row and "falls short" in row for row in rows)
    assert "ChartQA: ChartQA_TEST.tsv\nOCRBench: OCRBench.tsv\n" in printed
    assert "Only the first 1 rows" in printed
    assert "at most 1%" in printed
    assert (data.parent / "out" / "chartqa-ChartQA_TEST" / "report.html").is_file()
    assert (data.parent / "out" / "ocrbench-OCRBench" / "predictions.jsonl").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vqa"], "There is no evaluation 'vqa'"),
        (["docvqa"], "name it with --data FILE"),
        (["docvqa", "--data", "absent.tsv", "--model", "absent"], "There is no file 'absent.tsv'"),
        (["docvqa", "nano"], "takes no second argument ('nano')"),
        (
            ["docvqa", "--data", "data/OCRBench.tsv", "--server", "nowhere"],
            "no address of a server",
        ),
        (["docvqa", "--data", "absent.tsv", "--server", "http://127.0.0.1:1"], "There is no file"),
        (["reproduce", "nano"], "name it with --data DIR"),
        (["reproduce", "nano", "--data", "."], "no released size 'nano'"),
        (["reproduce", "nano", "--size", "tiny", "--data", "."], "no file that is named after"),
    ],
)
def test_what_cannot_be_meant_is_told(data, capsys, words, message):
    assert cli.main(["eval", *words]) == 2
    err = capsys.readouterr().err
    assert message in err.splitlines()[-1]
