"""`vl2 read`: documents in, a folder of results out; what is wrong is told and costs no other."""

import json
import re
import shutil
import sys

import PIL.Image
import pytest
from pdfs import encrypted, pdf

import vl2
from vl2.cli import main, pace, terminal
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
    said = capsys.readouterr().out
    assert re.match(
        r"2 documents, 3 pages in [\d.]+ s \([\d.e-]+ pages a second\); no errors", said
    )
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
    assert re.match(r"2 documents, 3 pages in [\d.]+ s; no errors", capsys.readouterr().out)


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
    PIL.Image.new("RGB", (60, 60)).save(papers / "zero.png")
    assert main([*words, "--no-report", "--retry"]) == 1
    said = capsys.readouterr().out
    assert re.match(r"7 documents, 4 pages \(1 of them read now\) in .* pages a second\)", said)


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


def test_a_server_that_is_not_there_is_told_once_before_any_document(papers, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["read", str(papers), "-o", str(out), "--engine", "vllm", "-m", "vl2"]
    assert main([*words, "--url", "http://127.0.0.1:1/v1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be reached" in line
    assert not (out / DOCUMENTS).exists()
    assert list(read_index(out)) == []


def test_a_model_is_loaded_only_for_pages_that_need_it(nano, papers, tmp_path, monkeypatch, capsys):
    loaded = []
    load = terminal.load_assistant

    def counted(*given, **options):
        loaded.append(given)
        return load(*given, **options)

    monkeypatch.setattr(terminal, "load_assistant", counted)
    born, out = papers / "born.pdf", tmp_path / "out"
    words = ["--max-tokens", "3", "--no-report"]
    assert main(["read", str(born), "-o", str(out), *words]) == 0
    assert not loaded
    model = results(out)["born.pdf"]["model"]
    assert (model["model"], model["dtype"]) == ("nano", None)
    assert model["fingerprint"]
    both = tmp_path / "both"
    assert main(["read", str(papers), "-o", str(both), *words]) == 0
    assert len(loaded) == 1
    # The other document does not change what is said of this one.
    assert results(both)["born.pdf"] == results(out)["born.pdf"]
    assert results(both)["sign.png"]["model"]["dtype"] == "float32"
    asked = [str(born), "-o", str(tmp_path / "asked"), "--ask", "What?"]
    assert main(["read", *asked, *words]) == 0
    assert len(loaded) == 2


def test_a_model_that_cannot_be_loaded_ends_the_run_at_the_first_page_that_needs_it(
    nano, papers, tmp_path, capsys
):
    for number in range(3):
        shutil.copy(papers / "sign.png", papers / f"sign {number}.png")
    out = tmp_path / "out"
    words = ["read", str(papers), "-o", str(out), "--parallel", "1", "--memory", "1MB"]
    assert main([*words, "--no-report"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "memory" in line
    assert set(results(out)) <= {"born.pdf"}


def test_a_later_report_has_pictures_of_pages_that_were_read_without(nano, papers, tmp_path):
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    words = ["read", str(papers), "--max-tokens", "3"]
    assert main([*words, "-o", str(out), "--no-report"]) == 0
    assert not list(out.rglob("*.jpg"))
    (papers / "sign.png").rename(papers / "moved.png")  # it is not asked for again
    assert main([*words, "-o", str(out)]) == 0
    assert main([*words, "-o", str(undisturbed)]) == 0
    for name in ("born.pdf", "sign.png"):
        assert results(out)[name]["pages"][0]["picture"] == "page-0001.jpg"
    pictures = [sorted(path.read_bytes() for path in o.rglob("*.jpg")) for o in (out, undisturbed)]
    assert len(pictures[0]) == 3
    assert pictures[0] == pictures[1]
    assert results(out)["born.pdf"] == results(undisturbed)["born.pdf"]
    assert "no picture" not in (out / "report.html").read_text(encoding="utf-8")


def test_a_report_says_where_pictures_could_not_be_made_anew(nano, papers, tmp_path):
    out = tmp_path / "out"
    words = ["read", "-o", str(out), "--max-tokens", "3"]
    assert main([*words, str(papers), "--no-report"]) == 0
    (papers / "sign.png").unlink()
    assert main([*words, str(papers)]) == 0
    text = (out / "report.html").read_text(encoding="utf-8")
    assert text.count("no picture was kept, and the file is gone or was changed") == 1
    assert len(list(out.rglob("*.jpg"))) == 2


def test_an_index_that_cannot_be_added_to_is_told_before_anything_is_read(
    nano, papers, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "out"
    words = ["read", "-o", str(out), "--max-tokens", "3", "--no-report"]
    assert main([*words, str(papers / "sign.png")]) == 0
    before = list(read_index(out))
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pyarrow", None)
        assert main([*words, str(papers)]) == 2
    assert "pip install pyarrow" in capsys.readouterr().err
    assert list(read_index(out)) == before
    assert set(results(out)) == {"sign.png"}


def test_notes_stand_in_lines_of_their_own_beside_the_progress(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if there were a terminal
    with pace.shown(1, quiet=False):
        terminal.note("something else.")
    shown = capsys.readouterr().err
    assert re.search(r"\x1b\[2Kvl2: something else\.\n", shown)


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
    with pace.shown(1, quiet=False) as line:
        for _ in range(5):
            line.add(0, 1)
    speeds = re.findall(r"([\d.e+]+)/s", capsys.readouterr().err)
    assert float(speeds[-1]) > 1


def test_one_long_document_shows_its_pages_and_the_time_left(nano, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if there were a terminal
    monkeypatch.setenv("COLUMNS", "120")
    (tmp_path / "book.pdf").write_bytes(pdf(*[[f"page {number}"] for number in range(30)]))
    monkeypatch.setattr(pace, "REFRESHES", 1000.0)
    words = ["read", str(tmp_path / "book.pdf"), "-o", str(tmp_path / "out"), "--no-report"]
    assert main(words) == 0
    shown = capsys.readouterr().err
    before = [int(page) for page in re.findall(r"(\d+)/30 pages", shown)]
    assert before == sorted(before)
    assert any(0 < page < 30 for page in before), "pages are told while the document is read"
    assert before[-1] == 30
    assert "/s, 0:00:0" in shown
    assert " taken" in shown


def test_what_is_wrong_with_a_document_stays_in_its_line(nano, tmp_path, capsys):
    name = "a\x1b[2J\nb.pdf"
    (tmp_path / name).write_bytes(b"")
    assert main(["read", str(tmp_path), "-o", str(tmp_path / "out"), "--no-report"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "a[2J b.pdf: error: It is empty" in line
