"""Killed at any point, a run leaves no half file, and the next one does only what is missing."""

import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import PIL.Image
import pytest
import reading
from pdfs import pdf
from reading import StubReader, read_all, settings_of

from vl2.documents.desk import DOCUMENTS, PAGES, Desk
from vl2.documents.readers import RefusedError
from vl2.documents.results import RESULT
from vl2.documents.run import plan, run
from vl2.errors import EngineError

PROGRAM = Path(reading.__file__)
PAGES_OF = (9, 1, 6)


@pytest.fixture
def papers(tmp_path):
    paths = []
    for number, count in enumerate(PAGES_OF):
        path = tmp_path / f"paper {number}.pdf"
        path.write_bytes(pdf(*[[f"Paper {number}", f"page {page}"] for page in range(count)]))
        paths.append(path)
    return paths


def started(out, log, papers):
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(out), str(log), *map(str, papers)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stderr=subprocess.PIPE,
    )


def lines(log):
    return log.read_text().count("\n") if log.exists() else 0


def contents(out):
    """Every file below a folder of results, locks aside."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def assert_whole(out):
    """What is there under its own name is there as a whole."""
    for name, data in contents(out).items():
        if name.endswith(".json"):
            json.loads(data)
        elif name.endswith(".jpg"):
            PIL.Image.open(io.BytesIO(data)).load()
        else:
            assert name.endswith((".part", ".txt")), name


def test_killed_again_and_again_gives_what_an_undisturbed_run_gives(tmp_path, papers):
    log, out, total = tmp_path / "log", tmp_path / "out", sum(PAGES_OF)
    kills = 0
    for allowed in (1, 5, 9, 13):  # kill it when it has begun so many pages
        process = started(out, log, papers)
        while process.poll() is None and lines(log) < allowed:
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
        assert_whole(out)
    assert kills == 4
    last = started(out, log, papers)
    errors = last.communicate()[1]
    assert last.returncode == 0, errors
    # At most the pages that were being read when it was killed are read twice.
    assert total <= lines(log) <= total + 2 * kills
    undisturbed = tmp_path / "undisturbed"
    before = lines(log)
    whole = started(undisturbed, log, papers)
    whole.communicate()
    assert whole.returncode == 0
    assert lines(log) - before == total
    assert contents(out) == contents(undisturbed)
    assert not list(out.rglob("*.part"))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_killed_at_any_file_it_goes_on(tmp_path, papers, count, monkeypatch):
    """One page: its copy, its entry, the text, the result, then nothing more to be killed at."""
    monkeypatch.setenv("KILL_AT", str(count))
    out, log = tmp_path / "out", tmp_path / "log"
    process = started(out, log, papers[1:2])
    process.communicate()
    assert process.returncode == (-signal.SIGKILL if count < 5 else 0)
    assert_whole(out)
    assert bool(list(out.rglob(RESULT))) == (count == 5)
    reader, settings = StubReader(lambda picture, prompt: "words"), settings_of(text_layer="ignore")
    (outcome,) = read_all(papers[1:2], out, reader, settings)
    assert outcome.status == "ok"
    assert len(reader.asked) == (count < 3)  # before its entry had its name, the page is lost
    assert not list(out.rglob("*.part"))
    assert not list(out.rglob(PAGES))


def test_ctrl_c_ends_it_at_once_and_keeps_what_was_read(tmp_path):
    path, log, out = tmp_path / "long.pdf", tmp_path / "log", tmp_path / "out"
    path.write_bytes(pdf(*[["page"]] * 600))
    process = started(out, log, [path])
    while lines(log) < 4:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    errors = process.communicate(timeout=30)[1]
    assert b"KeyboardInterrupt" in errors
    assert time.monotonic() - asked < 10
    assert lines(log) < 300
    assert not list(out.rglob(RESULT))
    assert list(out.rglob(f"{PAGES}/*.json"))
    assert_whole(out)


def test_a_second_run_asks_nothing(tmp_path, papers):
    out, first, second = tmp_path / "out", StubReader(), StubReader()
    once = read_all(papers, out, first, settings_of(text_layer="ignore"))
    again = read_all(papers, out, second, settings_of(text_layer="ignore"))
    assert len(first.asked) == sum(PAGES_OF)
    assert second.asked == []
    assert sorted(once, key=lambda o: o.path) == sorted(again, key=lambda o: o.path)


def test_other_settings_are_read_beside(tmp_path, papers):
    out, reader = tmp_path / "out", StubReader()
    read_all(papers[1:2], out, reader, settings_of(text_layer="ignore"))
    read_all(papers[1:2], out, reader, settings_of(text_layer="ignore", dpi=72))
    assert len(reader.asked) == 2
    assert len(list((out / DOCUMENTS).iterdir())) == 2


def test_identical_files_are_read_once(tmp_path, papers):
    twin = tmp_path / "another name.pdf"
    twin.write_bytes(papers[2].read_bytes())
    reader, out = StubReader(), tmp_path / "out"
    outcomes = read_all([papers[2], twin], out, reader, settings_of(text_layer="ignore"))
    assert len(reader.asked) == PAGES_OF[2]
    assert {o.path for o in outcomes} == {str(papers[2]), str(twin)}
    assert len({o.folder for o in outcomes}) == 1
    # The other name alone finds the result too.
    assert read_all([twin], out, reader, settings_of(text_layer="ignore"))[0].status == "ok"
    assert len(reader.asked) == PAGES_OF[2]


def test_pages_that_were_read_are_kept_when_others_are_tried_again(tmp_path, papers):
    out, settings = tmp_path / "out", settings_of(text_layer="ignore")

    def say(picture, prompt):
        if len(first.asked) == 3:
            raise RefusedError("too long")
        return "words"

    first, second = StubReader(say), StubReader(lambda picture, prompt: "others")
    (outcome,) = read_all(papers[:1], out, first, settings, parallel=1)
    assert (outcome.status, outcome.read, outcome.error) == (
        "partial",
        PAGES_OF[0] - 1,
        "Too long.",
    )
    assert len(plan(papers[:1], settings, out).jobs) == 0
    again = plan(papers[:1], settings, out, again=True)
    desk = Desk(second, settings, out, renderers=1)
    try:
        outcome = desk.read(again.jobs[0])
    finally:
        desk.close()
    assert (outcome.status, len(second.asked)) == ("ok", 1)
    (result,) = out.rglob(RESULT)
    texts = [page["text"] for page in json.loads(result.read_text())["pages"]]
    assert texts.count("others") == 1
    assert texts[2] == "others"


def test_a_file_that_is_gone_fails_and_is_no_result(tmp_path, papers):
    settings, out = settings_of(), tmp_path / "out"
    planned = plan(papers[1:2], settings, out)
    papers[1].unlink()
    desk = Desk(StubReader(), settings, out, renderers=1)
    try:
        (outcome,) = run(planned, desk.read, 1)
    finally:
        desk.close()
    assert outcome.status == "failed"
    assert "No such file" in outcome.error
    assert not list(out.rglob(RESULT))


def test_a_pdf_without_what_reads_pdfs_says_what_to_install(tmp_path, papers, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "pypdfium2" else find_spec(name)
    )
    (outcome,) = read_all(papers[1:2], tmp_path / "out", StubReader(), settings_of())
    assert outcome.status == "failed"
    assert "vl2[documents]" in outcome.error


def test_where_the_reader_fails_nothing_is_written_and_its_pages_are_kept(tmp_path, papers):
    out, count = tmp_path / "out", 0

    def say(picture, prompt):
        nonlocal count
        count += 1
        if count == 4:
            raise EngineError("out of memory")
        return "words"

    failing = StubReader(say)
    settings = settings_of(text_layer="ignore")
    (outcome,) = read_all(papers[:1], out, failing, settings, parallel=1)
    assert (outcome.status, outcome.error) == ("failed", "out of memory")
    (folder,) = (out / DOCUMENTS).iterdir()
    assert not (folder / RESULT).exists()
    kept = len(list((folder / PAGES).glob("*.json")))
    assert kept >= 3
    going_on = StubReader()
    (outcome,) = read_all(papers[:1], out, going_on, settings)
    assert outcome.status == "ok"
    assert len(going_on.asked) == PAGES_OF[0] - kept


def test_a_reader_that_is_gone_ends_the_run(tmp_path):
    paths = []
    for number in range(30):
        path = tmp_path / f"{number}.png"
        PIL.Image.new("RGB", (20, 20), (number, 0, 0)).save(path)
        paths.append(path)

    def say(picture, prompt):
        raise EngineError("gone")

    reader = StubReader(say)
    with pytest.raises(EngineError, match="gone"):
        read_all(paths, tmp_path / "out", reader, settings_of())
    assert len(reader.asked) < 20


def test_a_page_that_waits_when_the_desk_closes_is_told(tmp_path):
    path, out = tmp_path / "two.pdf", tmp_path / "out"
    path.write_bytes(pdf(["one"], ["two"]))
    begun, closed = threading.Event(), threading.Event()

    def say(picture, prompt):
        begun.set()
        assert closed.wait(30)
        return "words"

    settings = settings_of(text_layer="ignore")
    (job,) = plan([path], settings, out).jobs
    desk = Desk(StubReader(say), settings, out, parallel=1, renderers=1)
    with ThreadPoolExecutor(1) as pool:
        reading_it = pool.submit(desk.read, job)
        assert begun.wait(30)
        while desk._pool._work_queue.qsize() < 1:  # until the second page waits for its turn
            time.sleep(0.01)
        desk.close()
        closed.set()
        with pytest.raises(EngineError, match="closed before"):
            reading_it.result(30)


@pytest.mark.parametrize("after", ["plan", "page"])
def test_a_file_that_changes_is_not_taken_for_what_it_was(tmp_path, papers, after):
    settings, out = settings_of(text_layer="ignore"), tmp_path / "out"
    path = papers[2]
    before, changed = path.read_bytes(), papers[0].read_bytes()
    planned = plan([path], settings, out)

    def say(picture, prompt):
        path.write_bytes(changed)
        return "words"

    if after == "plan":
        path.write_bytes(changed)
    desk = Desk(StubReader(say), settings, out, renderers=1)
    try:
        (outcome,) = run(planned, desk.read, 1)
    finally:
        desk.close()
    assert (outcome.status, outcome.folder) == ("failed", "")
    assert "changed" in outcome.error
    assert not list(out.rglob("*.json"))
    path.write_bytes(before)
    assert len(plan([path], settings, out).jobs) == 1
