"""How far reading is, from what is told about documents and pages."""

import io
import re

import pytest
from rich.console import Console
from rich.progress import Progress

from vl2.cli import pace as module
from vl2.cli.pace import Line, Pace


def told(documents, *events, done=0):
    pace = Pace(documents)
    for found, read in events:
        pace.add(found, read)
    pace.done = done
    return pace


@pytest.mark.parametrize(
    ("pace", "pages", "text"),
    [
        (told(1), None, ""),
        (told(1, (200, 0)), 200, "0/200 pages"),
        (told(1, (200, 0), (0, 50)), 200, "50/200 pages, "),
        (told(3, (10, 0), (0, 4)), 30, "0/3 documents, 4/~30 pages, "),
        (told(3, (10, 0), (20, 0), (0, 4)), 45, "0/3 documents, 4/~45 pages, "),
        (told(2, (10, 0), (20, 0), (0, 15), done=1), 30, "1/2 documents, 15/30 pages, "),
        # Two that could not be opened have no pages, and do not have to be waited for.
        (told(4, (10, 0), (0, 10), done=3), 20, "3/4 documents, 10/~20 pages, "),
        (told(4, (10, 0), (0, 10), done=4), 10, "4/4 documents, 10/10 pages, "),
        # Lost with a worker: opened twice, and what was read before is not read again.
        (told(1, (10, 0), (0, 6), (10, 0), (-6, 0), (0, 4), done=1), 10, "10/10 pages, "),
        # Read by an earlier run, or broken: they do not have to be waited for.
        (told(1, (10, 0), (-7, 0), (0, 1)), 3, "1/3 pages, "),
        (told(1, (2, 0), (-2, 0)), 0, "0/0 pages"),
    ],
)
def test_pages_and_documents(pace, pages, text):
    assert pace.pages == pages
    assert pace.told(None).startswith(text)


@pytest.mark.parametrize(
    ("read", "seconds", "speed"), [(3, 2, "1.5"), (3, 4000, "0.00075"), (500, 2, "250")]
)
def test_speed_is_that_of_the_pages(monkeypatch, read, seconds, speed):
    pace = told(1, (9000, 0))
    monkeypatch.setattr("vl2.cli.pace.time.monotonic", lambda: pace.started + seconds)
    pace.add(0, read)
    assert pace.speed == pytest.approx(read / seconds)
    assert pace.told(3723.4) == f"{read}/9000 pages, {speed}/s, 1:02:03 left"
    pace.finish()
    monkeypatch.undo()  # later it is as fast as it was
    assert pace.speed == pytest.approx(read / seconds)
    assert pace.told(None).endswith(" taken")


def test_what_takes_very_long_is_told_in_days():
    assert told(1, (9000, 0)).told(864_000) == "0/9000 pages, 10 days left"


def test_large_counts_and_the_time_fit_on_a_terminal_of_80_columns(monkeypatch):
    drawn = io.StringIO()
    console = Console(file=drawn, width=80, force_terminal=True, color_system=None)
    monkeypatch.setattr("rich.console.Console", lambda **options: console)
    many = Pace(54321, opened=2, done=12345, found=2, read=12345, started=0.0, latest=359_999.0)
    with module.shown(54321, quiet=False) as line:
        line.pace = many
        text = many.told(359_999)
        line._shown.update(line._bar, completed=12345, total=54321, pace=text)
        line._shown.refresh()
        assert text == "12345/54321 documents, 12345/~54321 pages, 0.034/s, 99:59:59 left"
        assert text in drawn.getvalue()
        many.done, many.read = 54321, 54321
        line._show()
    text = many.told(None)
    assert text == "54321/54321 documents, 54321/54321 pages, 0.15/s, 99:59:59 taken"
    assert text in drawn.getvalue().splitlines()[-2]
    assert max(map(len, re.split(r"[\r\n]|\x1b\[\w+", drawn.getvalue()))) <= 80


def test_the_line_says_that_a_model_is_loaded_and_reading_begins_after_that(monkeypatch):
    progress = Progress(disable=True)
    line = Line(progress, progress.add_task("reading", total=None, pace=""), 32)
    (task,) = progress.tasks
    assert (task.description, task.fields["pace"]) == ("reading", "0/32 documents")
    line.wait()
    assert (task.description, task.fields["pace"]) == ("loading the model", "")
    line.pace.started -= 1000
    line.add(3, 0)
    assert task.description == "reading"
    line.add(0, 1)
    assert task.fields["pace"].startswith("0/32 documents, 1/~96 pages, ")
    assert line.pace.seconds < 100


def test_the_line_knows_the_time_left_of_a_single_document(monkeypatch):
    now = [0.0]
    progress = Progress(disable=True, get_time=lambda: now[0])
    bar = progress.add_task("reading", total=None, pace="")
    line = Line(progress, bar, 1)
    task = progress.tasks[0]
    assert task.time_remaining is None
    line.add(100, 0)
    for _ in range(20):
        now[0] += 2.0
        line.add(0, 1)
    assert task.time_remaining == pytest.approx(160, abs=9)
