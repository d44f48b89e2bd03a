"""Where documents are read: a file in, a folder with its result out.

`Desk.read` depends on nothing but the file, the settings and the reader, and writes nothing but
that folder, so any process may do it, and any number of threads of one process share a desk. Pages
are kept one by one (`.pages`) until the document is finished, so a process that is killed loses
only the pages that it was at; the result file is written last, in one move.
"""

from __future__ import annotations

import contextlib
import importlib.util
import queue
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from vl2.documents import files
from vl2.documents.copies import write_copy
from vl2.documents.page import read_page
from vl2.documents.readers import Reader, RefusedError
from vl2.documents.rendering.limits import Limits
from vl2.documents.rendering.renderer import (
    DocumentError,
    LostPageError,
    PageError,
    Renderer,
    Sheet,
)
from vl2.documents.rendering.room import Room
from vl2.documents.results import RESULT, Outcome, PageResult, outcome_of
from vl2.documents.settings import Settings, digest_of
from vl2.documents.sources import is_pdf
from vl2.documents.writing import Whole, write_result
from vl2.errors import EngineError, MissingExtraError, VL2Error

DOCUMENTS = "documents"
"""The folder in which each document has one."""

PAGES = ".pages"
PIXELS_HELD = 200_000_000
"""Pixels of pages that wait or are read, at 3 bytes each; one larger page is let in alone."""


@dataclass(frozen=True, slots=True)
class Job:
    """A document to be read.

    Attributes:
        path: the file.
        folder: name of the folder of its result.
        digest: SHA-256 of the file.
    """

    path: Path
    folder: str
    digest: str


@dataclass(frozen=True, slots=True)
class _Case:
    """A document that is being read: where its result goes, and how the reader failed on it."""

    place: Path
    failures: list[VL2Error] = field(default_factory=list)


_CLOSED = "The desk was closed before the document was read."

Told: TypeAlias = Callable[[int, int], None]
"""Told how many pages more are to be read, of a document that is opened, and how many are read.

Fewer than none are to be read more where a page had been read before, or cannot be."""


def _nothing(found: int, read: int) -> None:
    """What is done about pages if nobody counts."""


class Desk:
    """Reads documents.

    Args:
        reader: who reads; closed with the desk.
        settings: what is asked.
        out: folder of the results.
        limits: what a document may take.
        parallel: pages that the reader is asked about at once.
        renderers: processes that render pages.
        copies: whether to keep a small picture of each page, for the report.
        on_pages: called when a document is opened and after each page, from any thread.
    """

    def __init__(
        self,
        reader: Reader,
        settings: Settings,
        out: Path,
        limits: Limits | None = None,
        parallel: int = 8,
        renderers: int = 2,
        copies: bool = True,
        on_pages: Told = _nothing,
    ) -> None:
        self._reader, self._settings, self._out = reader, settings, out
        self._limits, self._copies, self._on_pages = limits or Limits(), copies, on_pages
        self._pool = ThreadPoolExecutor(parallel)
        # Pages wait for their turn as pictures; twice as many as are read keep the reader busy.
        self._room = Room(2 * parallel, PIXELS_HELD)
        self._closed = threading.Event()
        self._all = [Renderer(self._limits) for _ in range(renderers)]
        self._idle: queue.SimpleQueue[Renderer] = queue.SimpleQueue()
        for renderer in self._all:
            self._idle.put(renderer)

    def read(self, job: Job) -> Outcome:
        """Read a document and write its result, or what was wrong with it.

        Raises:
            VL2Error: the reader failed; the pages that were read are kept for another time.
        """
        place = self._out / DOCUMENTS / job.folder
        if (failed := _not_as_planned(job)) is not None:
            return failed
        (place / PAGES).mkdir(parents=True, exist_ok=True)
        for folder in (place, place / PAGES):
            files.clear_parts(folder)
        _reopen(place)
        count, pages, error = 0, [], None
        try:
            pdf = _checked(job.path, self._limits)
        except DocumentError as problem:
            error = _sentence(problem)
        else:
            count, pages, error = self._pages(job.path, place, pdf)
        if self._closed.is_set():
            raise EngineError(_CLOSED)
        if (failed := _not_as_planned(job)) is not None:
            shutil.rmtree(place, ignore_errors=True)  # its pages may be of either content
            return failed
        whole = Whole(job.path.name, job.digest, count, pages, error)
        result = write_result(place, whole, self._settings, self._reader.identity)
        shutil.rmtree(place / PAGES, ignore_errors=True)
        return outcome_of(result, str(job.path), job.folder)

    def close(self) -> None:
        """End the processes and the reader; what is being read fails."""
        self._closed.set()
        self._room.close()
        self._reader.close()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for renderer in self._all:
            renderer.close()

    def _pages(
        self, path: Path, place: Path, pdf: bool
    ) -> tuple[int, list[PageResult], str | None]:
        """How many pages there are, what the chosen ones gave, or why none could be read."""
        count = 0
        try:
            with self._rendering() as renderer:
                count = renderer.open(path, pdf=pdf)
                chosen = self._settings.pages.of(count)
                self._check_pages(count, chosen)
                self._on_pages(len(chosen), 0)
                waiting = self._submitted(_Case(place), chosen, renderer)
        except DocumentError as problem:
            return count, [], _sentence(problem)
        try:
            return count, [page.result() for page in waiting], None
        except CancelledError as error:  # by `close`, before the page's turn came
            raise EngineError(_CLOSED) from error

    @contextlib.contextmanager
    def _rendering(self) -> Iterator[Renderer]:
        renderer = self._idle.get()
        try:
            yield renderer
        finally:
            self._idle.put(renderer)

    def _check_pages(self, count: int, chosen: Sequence[int]) -> None:
        if count == 0:
            raise DocumentError("it has no pages")
        if not chosen:
            raise DocumentError(f"it has {count} pages, none of them among {self._settings.pages}")
        if len(chosen) > self._limits.pages:
            raise DocumentError(
                f"{len(chosen)} of its pages were to be read, more than the allowed "
                f"{self._limits.pages}: choose some with --pages, or use --max-pages and --retry"
            )

    def _submitted(
        self, case: _Case, chosen: Sequence[int], renderer: Renderer
    ) -> list[Future[PageResult]]:
        """Render the pages one after the other; they are read meanwhile."""
        waiting: list[Future[PageResult]] = []
        lost = 0
        for number in chosen:
            if case.failures:
                break  # the failure comes out where the pages are waited for
            kept = _kept(case.place, number)
            if kept is None and lost >= self._limits.failures:
                kept = PageResult(number, error=f"not tried, after {lost} pages that were lost")
            if kept is not None:
                waiting.append(_done(kept))
                self._on_pages(-1, 0)
                continue
            try:
                sheet = renderer.page(number - 1, self._settings.dpi)
            except PageError as problem:
                # Not kept for another time, when the machine may have more to give.
                lost += isinstance(problem, LostPageError)
                waiting.append(_done(PageResult(number, error=_sentence(problem))))
                self._on_pages(-1, 0)
            else:
                self._room.enter(sheet.pixels)
                waiting.append(self._pool.submit(self._read, case, number, sheet))
        return waiting

    def _read(self, case: _Case, number: int, sheet: Sheet) -> PageResult:
        """Read a page and keep what it gave; not if the reader has failed on another one."""
        try:
            if case.failures:
                raise case.failures[0]
            try:
                page = read_page(number, sheet, self._reader, self._settings)
            except RefusedError as problem:
                size = sheet.picture.size
                page = PageResult(number, error=_sentence(problem), width=size[0], height=size[1])
            if self._copies:
                page = replace(page, picture=write_copy(case.place, number, sheet.picture))
            return self._keep(case, page)
        except VL2Error as error:
            case.failures.append(error)
            raise
        finally:
            self._room.leave(sheet.pixels)

    def _keep(self, case: _Case, page: PageResult) -> PageResult:
        files.write_json(_page_file(case.place, page.page), page.as_dict())
        self._on_pages(*((0, 1) if page.error is None else (-1, 0)))
        return page


def _sentence(problem: VL2Error) -> str:
    text = str(problem).rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


def _not_as_planned(job: Job) -> Outcome | None:
    """What becomes of a file that has gone or changed since the run found it."""
    try:
        if digest_of(job.path) == job.digest:
            return None
        sentence = "It was changed while the run went on."
    except OSError as problem:  # another time it may be there again
        sentence = f"It cannot be read ({problem.strerror or problem})."
    return Outcome(str(job.path), "", "failed", sentence, digest=job.digest)


def _checked(path: Path, limits: Limits) -> bool:
    """Whether a file is a PDF; it is refused if it is empty or too large.

    Raises:
        OSError: it cannot be read, or is gone.
    """
    size, pdf = path.stat().st_size, is_pdf(path)
    if pdf and importlib.util.find_spec("pypdfium2") is None:
        raise MissingExtraError.for_extra("documents", f"{path.name} is a PDF, which")
    if size == 0:
        raise DocumentError("it is empty (0 bytes)")
    if size > limits.bytes:
        raise DocumentError(
            f"it has {size / 2**20:.0f} MiB, more than the allowed {limits.bytes / 2**20:.0f} MiB"
        )
    return pdf


def _reopen(place: Path) -> None:
    """Take the pages of a result that is to be made anew as pages that have been read."""
    result = files.read_json(place / RESULT, lambda value: isinstance(value, dict))
    for values in result.get("pages", ()) if result is not None else ():
        if PageResult.fits(values) and values["error"] is None:
            files.write_json(_page_file(place, values["page"]), values)
    (place / RESULT).unlink(missing_ok=True)


def _page_file(place: Path, number: int) -> Path:
    return place / PAGES / f"{number:06d}.json"


def _kept(place: Path, number: int) -> PageResult | None:
    """What an earlier process read of this page."""
    values = files.read_json(_page_file(place, number), PageResult.fits)
    return None if values is None else PageResult.from_dict(values)


def _done(page: PageResult) -> Future[PageResult]:
    future: Future[PageResult] = Future()
    future.set_result(page)
    return future
