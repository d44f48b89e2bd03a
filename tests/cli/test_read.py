"""`vl2 read`: documents in, a folder of results out; what is wrong is told and costs no other."""

import json
import re
import shutil
import sys

import pytest
from pdfs import encrypted, pdf

import vl2
from vl2.cli import main, reading
from vl2.documents.desk import DOCUMENTS
from vl2.documents.files import held
from vl2.documents.index import read_index
from vl2.documents.tasks import TEXT


@pytest.fixture
def papers(tmp_path, repository):
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "born.pdf").write_bytes(pdf(["Total 12 EUR", "Supplier Acme"], ["page two"]))
    shutil.copy(repository / "src/vl2/assets/pictures/sign.png", folder / "sign.png")
    return folder


def results(out):
    return {
        value["document"]: value
        for value in (
            json.loads(path.read_text(encoding="utf-8"))
            for path in (out / DOCUMENTS).glob("*/result.json")
        )
    }


def test_a_folder_is_read_as_one_would_ask(nano, papers, tmp_path, capsys):
    out = tmp_path / "out"
    question, tokens = "What does the text say?", "12"
    words = [str(papers), "-o", str(out), "--text", "--ask", question, "--max-tokens", tokens]
    assert main(["read", *words, "--fields", "total", "--offline"]) == 0
    assert "2 documents, 3 pages" in capsys.readouterr().out
    found = results(out)
    born, sign = found["born.pdf"], found["sign.png"]
    assert [page["text_from"] for page in born["pages"]] == ["text layer"] * 2
    assert born["pages"][0]["text"] == "Total 12 EUR\nSupplier Acme"
    assert (born["status"], born["pages_in_document"], born["model"]["dtype"]) == (
        "ok",
        2,
        "float32",
    )
    assistant = vl2.load()
    (page,) = sign["pages"]
    picture = papers / "sign.png"
    read = assistant.ask(picture, TEXT, max_tokens=int(tokens))
    asked = assistant.ask(picture, question, max_tokens=int(tokens))
    assert page["text"] == read.readable.strip("\n")
    assert page["answers"][0]["answer"] == asked.readable.strip()
    assert page["usage"]["image_tokens"] == 3 * read.usage.image_tokens
    assert sign["settings"]["tasks"][0]["prompt"] == TEXT
    rows = list(read_index(out))
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert (out / "report.html").stat().st_size > 1000
    text = (out / DOCUMENTS / rows[0]["folder"] / "text.txt").read_text(encoding="utf-8")
    assert text == "Total 12 EUR\nSupplier Acme\n\fpage two\n"
    # Once more: nothing is asked, so no model is loaded.
    assert main(["read", *words, "--fields", "total"]) == 0
    assert results(out) == found


def test_what_cannot_be_read_is_listed_and_the_rest_is_read(nano, papers, tmp_path, capsys):
    (papers / "locked.pdf").write_bytes(encrypted())
    (papers / "empty.pdf").write_bytes(pdf())
    (papers / "zero.png").write_bytes(b"")
    (papers / "broken.jpg").write_bytes(b"\xff\xd8\xff" + b"x" * 99)
    (papers / "long.pdf").write_bytes(pdf(*[["p"]] * 30))
    out = tmp_path / "out"
    words = ["read", str(papers), "-o", str(out), "--max-tokens", "3", "--max-pages", "20"]
    assert main([*words, "--no-report"]) == 1
    printed = capsys.readouterr()
    assert "7 documents, 3 pages" in printed.out
    assert "5 with errors" in printed.out
    reasons = {
        "locked.pdf": "encrypted",
        "empty.pdf": "no pages",
        "zero.png": "empty",
        "broken.jpg": "broken",
        "long.pdf": "30 of its pages",
    }
    for name, reason in reasons.items():
        (line,) = [line for line in printed.err.splitlines() if name in line]
        assert reason in line
        result = results(out)[name]
        assert result["status"] == "error"
    statuses = {row["path"].rpartition("/")[2]: row["status"] for row in read_index(out)}
    assert set(statuses) == {*reasons, "born.pdf", "sign.png"}
    assert [n for n, s in statuses.items() if s == "ok"] == ["born.pdf", "sign.png"]
    assert not (out / "report.html").exists()
    # What is wrong with them has been found out once; --retry looks again.
    (papers / "zero.png").write_bytes((papers / "sign.png").read_bytes())
    assert main([*words, "--no-report", "--retry"]) == 1
    assert "7 documents, 4 pages" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere.pdf"], "does not exist"),
        (["{sign}", "--pages", "0"], "names no pages"),
        (["{sign}", "--dpi", "5"], "dpi"),
        (["{sign}", "--text-layer", "maybe"], "text layer"),
        (["{sign}", "--fields", ","], "fields"),
        (["{sign}", "--schema", "nowhere.json"], "cannot be read"),
        (["{sign}", "--ask", " "], "empty"),
        (["{sign}", "--engine", "magic"], "no engine"),
        (["{sign}", "--engine", "openai"], "--url"),
        (["{sign}", "--url", "http://127.0.0.1:1/v1"], "--engine"),
        (["{sign}", "--offline", "--engine", "openai", "--url", "http://x/v1"], "--offline"),
        (["{sign}", "--engine", "openai", "--url", "nowhere"], "address"),
        (["{sign}", "--page-memory", "much"], "much"),
        (["{sign}", "--page-seconds", "0"], "seconds"),
        (["{sign}", "--max-pages", "0"], "pages"),
        (["{sign}", "--device", "abacus"], "abacus"),
        (["{sign}", "--out", "{sign}"], "folder of results"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, list) else None,
)
def test_mistakes_are_told_in_a_sentence(papers, tmp_path, capsys, words, sentence):
    sign = str(papers / "sign.png")
    words = [sign if word == "{sign}" else word for word in words]
    assert main(["read", "-o", str(tmp_path / "out"), *words]) == 2
    assert sentence in capsys.readouterr().err


def test_a_schema_that_cannot_be_followed_is_told_before_any_page(nano, papers, tmp_path, capsys):
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object", "properties": {"a": {"type": "nonsense"}}}')
    words = ["read", str(papers), "-o", str(tmp_path / "out"), "--schema", str(schema)]
    assert main(words) == 2
    assert "json_schema" in capsys.readouterr().err
    assert not (tmp_path / "out" / DOCUMENTS).exists()


def test_a_server_that_is_not_there_fails_the_documents_and_keeps_nothing(papers, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["read", str(papers / "sign.png"), "-o", str(out), "--engine", "vllm", "-m", "vl2"]
    assert main([*words, "--url", "http://127.0.0.1:1/v1"]) == 1
    assert "cannot be reached" in capsys.readouterr().err
    assert results(out) == {}
    assert [row["status"] for row in read_index(out)] == ["failed"]


def test_two_runs_do_not_write_to_one_folder(papers, tmp_path, capsys):
    if sys.platform == "win32":
        pytest.skip("Windows has no such lock")
    out = tmp_path / "out"
    out.mkdir()
    with held(out):
        assert main(["read", str(papers), "-o", str(out)]) == 2
    assert "Another run" in capsys.readouterr().err


def test_progress_counts_pages_from_its_own_beginning(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if there were a terminal
    with reading._progress(1, quiet=False) as (on_page, _):
        for _ in range(5):
            on_page()
    speeds = re.findall(r"([\d.e+]+) pages a second", capsys.readouterr().err)
    assert float(speeds[-1]) > 1


def test_what_is_wrong_with_a_document_stays_in_its_line(nano, tmp_path, capsys):
    name = "a\x1b[2J\nb.pdf"
    (tmp_path / name).write_bytes(b"")
    assert main(["read", str(tmp_path), "-o", str(tmp_path / "out"), "--no-report"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "a[2J b.pdf: error: It is empty" in line
