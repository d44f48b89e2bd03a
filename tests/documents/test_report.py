"""The report opens from disk, shows what was read, and runs nothing that a document brings."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pdfs import encrypted, pdf
from reading import StubReader, read_all, settings_of

from vl2.documents.index import write_index
from vl2.documents.report import writing
from vl2.documents.report.writing import write_report
from vl2.documents.tasks import ask, locate, read_fields, read_tables, read_text

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ATTACK = "</pre></td><script>alert(1)</script><img src=x onerror=alert(2)> \u202egnp.exe"
TASKS = (
    read_text(),
    read_fields("total, payee"),
    locate("the total"),
    ask(f"Who? {ATTACK}"),
    read_tables(),
)


def hostile(picture, prompt):
    if "total, payee" in prompt:
        return json.dumps({"total": "12", "payee": ATTACK, ATTACK: [{ATTACK: ATTACK}]})
    if prompt.startswith("<|ref|>"):
        return f"<|ref|>{ATTACK}<|/ref|><|det|>[[100, 200, 300, 400]]<|/det|>"
    if "table" in prompt:
        return f"| a | {ATTACK} |\n| 1 | 2 |"
    return f"sunflower {ATTACK}"


@pytest.fixture
def report(tmp_path):
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    (inputs / "bill <b>&amp; 'x'.pdf").write_bytes(pdf(["Total 12"], ["second"]))
    (inputs / "locked.pdf").write_bytes(encrypted())
    out = tmp_path / "out"
    reader, settings = StubReader(hostile), settings_of(*TASKS, text_layer="compare")
    write_index(out, read_all(sorted(inputs.iterdir()), out, reader, settings))
    return write_report(out)


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links, self.handlers = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "action", "data", "srcset"):
                self.links.append(value)
            if name.startswith("on"):
                self.handlers.append(name)


def elements(path):
    reader = Elements()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


def test_nothing_that_a_document_brings_becomes_an_element(report):
    found = elements(report)
    assert found.tags.count("script") == 1
    assert found.tags.count("img") == 2  # a picture a page
    assert not found.handlers


def test_all_links_lead_to_files_beside_it(report):
    links = [link for link in elements(report).links if not link.startswith("#")]
    assert len(links) == 2 * 2 + 2
    for link in links:
        assert (report.parent / link).is_file(), link
    text = report.read_text(encoding="utf-8")
    assert not re.search(
        r"(?:https?:)?//[a-z]", re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    )


def test_it_shows_what_was_read(report):
    text = report.read_text(encoding="utf-8")
    shown = ("sunflower", "the total", "It is encrypted", "locked.pdf", "with errors: 1")
    for part in shown:
        assert part in text


def test_it_shows_answers_that_could_not_be_read(tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf(["Total 12"]))
    reader = StubReader(lambda picture, prompt: f"Sorry {ATTACK}")
    asked = settings_of(read_fields("total"), read_tables())
    write_index(tmp_path, read_all([tmp_path / "a.pdf"], tmp_path, reader, asked))
    report = write_report(tmp_path)
    text = report.read_text(encoding="utf-8")
    for title in ("Answer that is no JSON object", "Answer without a table"):
        assert f"<h3>{title}</h3><pre>Sorry &lt;/pre&gt;" in text
    assert elements(report).tags.count("script") == 1


def test_results_of_an_earlier_version_are_shown(report):
    for path in report.parent.rglob("result.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        for page in result["pages"]:
            del page["unparsed"]
        path.write_text(json.dumps(result), encoding="utf-8")
    write_report(report.parent)
    assert "sunflower" in report.read_text(encoding="utf-8")


def test_large_runs_are_shown_in_part(report, monkeypatch):
    monkeypatch.setattr(writing, "MAX_PAGES", 2)
    write_report(report.parent)
    text = report.read_text(encoding="utf-8")
    assert "documents shown: 1" in text
    assert text.count("<section") == 1


def test_of_a_large_document_the_first_pages_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "MAX_PAGES", 3)
    monkeypatch.setattr(writing, "MAX_LOST", 1)
    for name, broken in (("a.pdf", 0), ("b.pdf", 3)):
        data = pdf(*[["page"]] * 5)
        for number in range(broken):
            data = data.replace(
                f"{4 + 2 * number} 0 obj\n<< /Type /Page /".encode(), b"9 0 obj\n", 1
            )
        (tmp_path / name).write_bytes(data)
    for name in ("a.pdf", "b.pdf"):
        out = tmp_path / f"out {name}"
        write_index(out, read_all([tmp_path / name], out, StubReader(), settings_of()))
    whole, lost = (
        write_report(tmp_path / f"out {name}").read_text(encoding="utf-8")
        for name in ("a.pdf", "b.pdf")
    )
    assert (whole.count("<article"), whole.count("2 more pages are in result.json")) == (3, 1)
    assert lost.count("<article") == 1
    assert "2 more pages could not be read" in lost


def test_files_with_the_same_content_are_shown_together_by_all_their_names(tmp_path):
    paths = [tmp_path / f"{name}.pdf" for name in ("first", "second")]
    for path in paths:
        path.write_bytes(pdf(["Total 12"]))
    write_index(tmp_path, read_all(paths, tmp_path, StubReader(), settings_of()))
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert text.count("<section") == 1
    assert 'data-name="first.pdf\nsecond.pdf"' in text
    assert f"the same as {paths[1]}" in text
    assert "the index lists all" not in text


def test_documents_to_look_at_have_a_colour_of_their_own(tmp_path):
    for name, lines in (("fine.pdf", ["Total 12"]), ("odd.pdf", ["Sum 21"])):
        (tmp_path / name).write_bytes(pdf(lines))
    (tmp_path / "locked.pdf").write_bytes(encrypted())
    reader = StubReader(lambda picture, prompt: "Total 12")
    paths = [tmp_path / name for name in ("fine.pdf", "locked.pdf", "odd.pdf")]
    asked = settings_of(read_text(), text_layer="compare")
    write_index(tmp_path, read_all(paths, tmp_path, reader, asked))
    text = write_report(tmp_path).read_text(encoding="utf-8")
    dots = re.findall(r'<i class="dot (\w+)" title="([\w ]+)"></i><span>(\w+\.pdf)', text)
    assert dots == [
        ("ok", "fine", "fine.pdf"),
        ("error", "not read", "locked.pdf"),
        ("look", "to look at", "odd.pdf"),
    ]
    assert re.findall(r"</i>([\w ]+)</span>", text) == [
        "fine",
        "to look at",
        "read in part",
        "not read",
    ]
    assert "i.look{background:var(--partial)}" in text


def test_what_is_wrong_with_a_page_is_said_once(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff" + b"x" * 99)
    (tmp_path / "locked.pdf").write_bytes(encrypted())
    paths = [tmp_path / "broken.jpg", tmp_path / "locked.pdf"]
    write_index(tmp_path, read_all(paths, tmp_path, StubReader(), settings_of()))
    bad = re.findall(r"<p class=bad>([^<]+)", write_report(tmp_path).read_text(encoding="utf-8"))
    assert len(bad) == len(set(bad)) == 2


@pytest.mark.browser
def test_in_a_browser_nothing_runs_and_the_search_finds(report):
    library = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium is not installed")
    with library.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        seen = []
        page.on("dialog", lambda dialog: (seen.append("dialog"), dialog.dismiss()))
        page.on("console", lambda message: seen.append(message.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("request", lambda request: seen.append(request.url) if _abroad(request) else None)
        page.goto(report.as_uri())
        # Raises if one of them does not load.
        page.evaluate(
            "Promise.all([...document.images].map(i => (i.loading = 'eager', i.decode())))"
        )
        page.fill("input", "SUNFLOWER")
        page.get_by_text("found in documents: 1, pages: 2").wait_for()
        page.fill("input", "no such word")
        page.get_by_text("found in documents: 0").wait_for()
        assert page.locator("section:visible").count() == 0
        page.fill("input", "")
        page.click("button[data-show=error]")
        page.wait_for_timeout(250)
        assert page.locator("section:visible h2").all_inner_texts() == ["locked.pdf"]
        page.click("button[data-show=all]")
        page.click('nav a[href="#d0"]')
        space = page.evaluate(
            "document.querySelector('#d0 h2').getBoundingClientRect().top"
            " - document.querySelector('header').getBoundingClientRect().bottom"
        )
        assert 8 <= space <= 40
        page.hover("li[data-box]")
        assert page.locator("rect.lit").count() == 1
        browser.close()
    assert seen == []


def _abroad(request):
    return not request.url.startswith("file:")
