"""How far reading is, from what is told about documents and pages."""

import pytest
from rich.progress import Progress

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
        (told(1, (200, 0)), 200, "0 of 200 pages"),
        (told(1, (200, 0), (0, 50)), 200, "50 of 200 pages, "),
        (told(3, (10, 0), (0, 4)), 30, "0/3 documents, 4 of about 30 pages, "),
        (told(3, (10, 0), (20, 0), (0, 4)), 45, "0/3 documents, 4 of about 45 pages, "),
        (told(2, (10, 0), (20, 0), (0, 15), done=1), 30, "1/2 documents, 15 of 30 pages, "),
        # Two that could not be opened have no pages, and do not have to be waited for.
        (told(4, (10, 0), (0, 10), done=3), 20, "3/4 documents, 10 of about 20 pages, "),
        (told(4, (10, 0), (0, 10), done=4), 10, "4/4 documents, 10 of about 10 pages, "),
        # Lost with a worker: opened twice, and what was read before is not read again.
        (told(1, (10, 0), (0, 6), (10, 0), (0, 10), done=1), 16, "16 of 16 pages, "),
    ],
)
def test_pages_and_documents(pace, pages, text):
    assert pace.pages == pages
    assert str(pace).startswith(text)


def test_speed_is_that_of_the_pages(monkeypatch):
    pace = told(1, (9, 0), (0, 3))
    monkeypatch.setattr("vl2.cli.pace.time.monotonic", lambda: pace.started + 2)
    assert pace.speed == 1.5
    assert str(pace) == "3 of 9 pages, 1.5 pages a second"


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
