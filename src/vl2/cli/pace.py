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


@dataclass(slots=True)
class Pace:
    """Counts of documents and pages.

    Attributes:
        documents: how many there are to be read.
        opened: whose pages have been counted.
        done: how many are finished, also with an error.
        found: pages of those that were opened.
        read: pages that have been read.
        started: seconds of a monotonic clock.
    """

    documents: int
    opened: int = 0
    done: int = 0
    found: int = 0
    read: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, found: int, read: int) -> None:
        """More pages: of a document that has been opened, or read."""
        self.opened += found > 0
        self.found += found
        self.read += read

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
    def speed(self) -> float:
        """Pages a second."""
        return self.read / max(time.monotonic() - self.started, 1e-3)

    def __str__(self) -> str:
        """As `1/3 documents, 20 of about 60 pages, 2.4 pages a second`."""
        pages = self.pages
        about = "" if self.opened >= self.documents else "about "
        parts = [f"{self.done}/{self.documents} documents"] if self.documents > 1 else []
        if pages is not None:
            parts.append(f"{self.read} of {about}{pages:.0f} pages")
        if self.read:
            parts.append(f"{self.speed:.2g} pages a second")
        return ", ".join(parts)


class Line:
    """The line of a terminal that shows a pace; told from any thread."""

    def __init__(self, shown: Progress, bar: TaskID, documents: int) -> None:
        self._shown, self._bar, self._lock = shown, bar, threading.Lock()
        self._pace = Pace(documents)
        self._show()

    def add(self, found: int, read: int) -> None:
        """Of `Pace`, and shown."""
        with self._lock:
            self._pace.add(found, read)
            self._show()

    def finish(self, _: Outcome) -> None:
        """One more document is done."""
        with self._lock:
            self._pace.done += 1
            self._show()

    def _show(self) -> None:
        pace = self._pace
        self._shown.update(self._bar, completed=pace.read, total=pace.pages, pace=str(pace))


@contextlib.contextmanager
def shown(documents: int, *, quiet: bool) -> Iterator[Line]:
    """Pages done, pages a second, and the time that the rest will take, while reading goes on."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("reading"),
        BarColumn(),
        TextColumn("{task.fields[pace]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    console = Console(stderr=True)
    off = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=off, refresh_per_second=REFRESHES) as progress:
        yield Line(progress, progress.add_task("reading", total=None, pace=""), documents)
