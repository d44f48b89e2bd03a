"""The other side of the process that opens documents."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import PIL.Image

from vl2.documents.rendering.limits import Limits
from vl2.errors import VL2Error

_CHILD = "vl2.documents.rendering.child"
_START_SECONDS = 60.0
_REQUESTS_OF_A_PROCESS = 500
_MAX_HEADER = 8 * 2**20
_MORE = "--page-memory and --page-seconds allow more, --retry tries again"


class DocumentError(VL2Error):
    """A document cannot be opened; the sentence goes on after its name."""


class PageError(VL2Error):
    """A page cannot be shown or read; the others are not concerned."""


class LostPageError(PageError):
    """A page took more time or memory than it may, or crashed the process that rendered it."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page as it is seen.

    Attributes:
        picture: in RGB.
        text: the text layer of a PDF's page that prints its text; None without one.
    """

    picture: PIL.Image.Image
    text: str | None

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.picture.width * self.picture.height


class Renderer:
    """Opens one document at a time, in a process that is replaced when it fails.

    One thread at a time may use it.

    Args:
        limits: what a document may take.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock, self._closed = threading.Lock(), False
        self._process: subprocess.Popen[bytes] | None = None
        self._requests = 0
        self._document: dict[str, Any] | None = None

    def open(self, path: Path, *, pdf: bool) -> int:
        """Open a document; returns how many pages it has.

        Raises:
            DocumentError: it is broken or encrypted, or takes too long.
        """
        self._document = {"do": "open", "path": os.fspath(path.absolute()), "pdf": pdf}
        if self._requests > _REQUESTS_OF_A_PROCESS:
            self._stop()
        try:
            return self._insist(self._document)[0]["pages"]
        except PageError as error:
            raise DocumentError(str(error)) from error

    def page(self, index: int, dpi: float) -> Sheet:
        """Render a page of the open document, the first one is 0.

        Raises:
            PageError: it is broken.
            LostPageError: it took too much.
        """
        request = {"do": "page", "index": index, "dpi": dpi, "pixels": self._limits.pixels}
        header, data = self._insist(request)
        size = (header["width"], header["height"])
        return Sheet(PIL.Image.frombytes("RGB", size, data), header["text"])

    def close(self) -> None:
        """End the process for good; any thread may call this."""
        with self._lock:
            self._closed = True
        self._stop()

    def _insist(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Ask; a process that dies may have been worn out by others, so ask a new one once more."""
        try:
            return self._ask(request)
        except BrokenPipeError:
            self._stop()
        try:
            return self._ask(request)
        except BrokenPipeError as error:
            self._stop()
            mib = self._limits.memory // 2**20
            raise LostPageError(
                f"it crashed the process that rendered it, or needed more than {mib} MiB or "
                f"{self._limits.seconds:g} s of computing: {_MORE}"
            ) from error

    def _ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        process = self._process
        if process is None:
            process = self._start()
            if request is not self._document and self._document is not None:
                self._exchange(process, self._document)
        return self._exchange(process, request)

    def _start(self) -> subprocess.Popen[bytes]:
        variables = {
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "1",
            "OPENBLAS_NUM_THREADS": "1",  # each of its threads reserves memory
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        with self._lock:
            if self._closed:
                raise LostPageError("it was not rendered before the work was ended")
            self._process = subprocess.Popen(
                [sys.executable, "-m", _CHILD, str(self._limits.memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=variables,
            )
            return self._process

    def _stop(self) -> None:
        """End the process; another one is started when there is something to do."""
        with self._lock:
            process, self._process, self._requests = self._process, None, 0
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):  # what it did not read any more
                        pipe.close()

    def _exchange(
        self, process: subprocess.Popen[bytes], request: dict[str, Any]
    ) -> tuple[dict[str, Any], bytes]:
        """One request and its answer.

        Raises:
            BrokenPipeError: the process died.
            LostPageError: it did not answer in time, and was ended.
            PageError: it answered with an error.
        """
        assert process.stdin is not None
        assert process.stdout is not None
        seconds = self._limits.seconds
        late = threading.Event()
        patience = seconds + (_START_SECONDS if self._requests == 0 else 0)
        timer = threading.Timer(patience, _end, (process, late))
        timer.start()
        try:
            line = json.dumps({**request, "seconds": seconds}).encode() + b"\n"
            process.stdin.write(line)
            process.stdin.flush()
            header, data = _received(process.stdout)
        except BrokenPipeError:
            if late.is_set():
                self._stop()
                raise LostPageError(f"it took more than {seconds:g} s: {_MORE}") from None
            raise
        finally:
            timer.cancel()
        self._requests += 1
        if "error" in header:
            raise PageError(header["error"])
        return header, data


def _end(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    process.kill()


def _received(pipe: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    line = pipe.readline(_MAX_HEADER)
    if not line.endswith(b"\n"):
        raise BrokenPipeError
    header = json.loads(line)
    count = 3 * header.get("width", 0) * header.get("height", 0)
    data = pipe.read(count)
    if len(data) != count:
        raise BrokenPipeError
    return header, data
