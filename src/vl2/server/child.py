"""A server in a process of its own: for measurements, screenshots, notebooks and tests."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

from vl2.errors import InputError

_PACE = 0.05
_READY = re.compile(r"http://\S+:\d+(?=/ is ready)")


@dataclass(frozen=True, slots=True)
class Child:
    """A server that runs.

    Attributes:
        process: the process.
        url: its address, without a slash at its end.
    """

    process: subprocess.Popen[bytes]
    url: str


@contextlib.contextmanager
def served(*options: str) -> Iterator[Child]:
    """Run `vl2 serve` on a free port of this machine for the length of a `with` block.

    Args:
        *options: of `vl2 serve`, such as `"--no-page"`.

    Raises:
        InputError: it did not start.
    """
    command = [sys.executable, "-m", "vl2", "serve", "--port", "0", *options]
    # Into a file, not into a pipe: nobody reads it later on, and a full pipe would stop the server.
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=said) as process,
    ):
        try:
            while True:
                said.seek(0)
                words = said.read().decode(errors="replace")
                if ready := _READY.search(words):
                    break
                if process.poll() is not None:
                    raise InputError(f"The server did not start: {words.strip()[-500:]}")
                time.sleep(_PACE)
            yield Child(process, ready[0])
        finally:
            process.terminate()
