"""How far reading is, and when it will be done."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from vl2.documents.results import Outcome

REFRESHES = 10.0
"""Times a second that the line is drawn anew."""


WAITING = "loading the model"
READING = "reading"


@dataclass(slots=True)
class Pace:
    """Counts of documents and pages, and since when.

    Attributes:
        documents: how many there are to be read.
        opened: whose pages have been counted.
        done: how many are finished, also with an error.
        found: pages that are to be read of those that were opened.
        read: pages that have been read.
        started: when reading began, in seconds of a monotonic clock.
        latest: when something was told last.
    """

    documents: int
    opened: int = 0
    done: int = 0
    found: int = 0
    read: int = 0
    started: float = field(default_factory=time.monotonic)
    latest: float = 0.0

    def begin(self) -> None:
        """Reading begins now."""
        self.started = time.monotonic()

    def add(self, found: int, read: int) -> None:
        """More pages: of a document that has been opened, or read; fewer if some need not be."""
        self.opened += found > 0
        self.found += found
        self.read += read
        self.latest = time.monotonic()

    def finish(self) -> None:
        """One more document is done."""
        self.done += 1
        self.latest = time.monotonic()

    @property
    def pages(self) -> float | None:
        """All pages; documents not yet opened have as many as the others. None if none is open."""
        if self.done >= self.documents:
            return self.read
        if self.opened == 0:
            return None
        unopened = max(0, self.documents - max(self.opened, self.done))
        return max(self.read, self.found) + unopened * self.found / self.opened

    @property
    def seconds(self) -> float:
        """From the beginning of reading to what was told last."""
        return max(self.latest - self.started, 1e-3)

    @property
    def speed(self) -> float:
        """Pages a second."""
        return self.read / self.seconds

    def told(self, left: float | None) -> str:
        """As `1/3 documents, 20/~60 pages, 2.4/s, 0:00:17 left`; 71 letters at most for 10,000s.

        Args:
            left: seconds that the rest will take, if they are known.
        """
        parts = [f"{self.done}/{self.documents} documents"] if self.documents > 1 else []
        done, pages = self.done >= self.documents, self.pages
        if pages is not None:
            about = "" if done or self.opened >= self.documents else "~"
            parts.append(f"{self.read}/{about}{pages:.0f} pages")
        if self.read:
            parts.append(f"{in_short(self.speed)}/s")
        if done:
            parts.append(f"{_clock(self.seconds)} taken")
        elif left is not None:
            parts.append(f"{_clock(left)} left")
        return ", ".join(parts)


def in_short(speed: float) -> str:
    """A speed with two figures, or as many as stand before the point."""
    return f"{speed:.0f}" if speed >= 10 else f"{speed:.2g}"


def _clock(seconds: float) -> str:
    """As `1:02:03`; what takes longer than four days, in days."""
    if seconds >= 100 * 3600:
        return f"{seconds / 86400:.0f} days"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


class Line:
    """The line of a terminal that shows a pace; told from any thread."""

    def __init__(self, shown: Progress, bar: TaskID, documents: int) -> None:
        self._shown, self._bar, self._lock = shown, bar, threading.Lock()
        self._task = next(task for task in shown.tasks if task.id == bar)
        self._waits = False
        self.pace = Pace(documents)
        self._show()

    def wait(self) -> None:
        """A model is loaded now; reading begins when something of it is told."""
        with self._lock:
            self._waits = True
            self._shown.update(self._bar, description=WAITING, pace="")

    def add(self, found: int, read: int) -> None:
        """Of `Pace`, and shown."""
        with self._lock:
            self._begin()
            self.pace.add(found, read)
            self._show()

    def finish(self, _: Outcome) -> None:
        """One more document is done."""
        with self._lock:
            self._begin()
            self.pace.finish()
            self._show()

    def _begin(self) -> None:
        if self._waits:
            self._waits = False
            self.pace.begin()
            self._shown.update(self._bar, description=READING)

    def _show(self) -> None:
        pace = self.pace
        self._shown.update(self._bar, completed=pace.read, total=pace.pages)
        self._shown.update(self._bar, pace=pace.told(self._task.time_remaining))


@contextlib.contextmanager
def shown(documents: int, *, quiet: bool) -> Iterator[Line]:
    """Pages done, pages a second, and the time that the rest will take, while reading goes on."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),  # it alone gives way where the terminal is narrow
        TextColumn("{task.fields[pace]}", markup=False),
    )
    console = Console(stderr=True)
    off = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=off, refresh_per_second=REFRESHES) as progress:
        yield Line(progress, progress.add_task(READING, total=None, pace=""), documents)
