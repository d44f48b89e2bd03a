"""Where uploaded pictures lie: in a folder of this server's own, which cannot grow for ever."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from pathlib import Path

_VARIABLE = "GRADIO_TEMP_DIR"
_PREFIX = "vl2-page-"
_MOST_BYTES = 2**30
_LONGEST_SECONDS = 24 * 3600.0
_PACE = 60.0


class Uploads:
    """A private folder; the oldest files go when it is full, all of it when the server ends.

    Args:
        most_bytes: what the files may take together.
        longest: how many seconds a file is kept.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES, longest: float = _LONGEST_SECONDS) -> None:
        self._most_bytes = most_bytes
        self._longest = longest
        # Only its user may look into it; it is removed at the end of the process at the latest.
        self._folder = tempfile.TemporaryDirectory(prefix=_PREFIX)
        self._kept: frozenset[Path] = frozenset()
        # The page's framework asks for the folder by this name, again and again while it serves.
        os.environ[_VARIABLE] = str(self.path)

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self._folder.name).resolve()

    def holds(self, path: str) -> bool:
        """Whether a path leads into the folder, and not out of it again."""
        return Path(os.path.normpath(path)).is_relative_to(self.path)

    def keep(self) -> None:
        """Never remove the files that are there now; the page itself needs them."""
        self._kept = frozenset(self._files())

    def prune(self) -> None:
        """Remove files that are too old, then the oldest until the others fit."""
        found = []
        for path in self._files():
            # Somebody else may remove it meanwhile.
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        size, oldest = sum(bytes_ for _, bytes_, _ in found), time.time() - self._longest
        for changed, bytes_, path in sorted(found):
            if changed >= oldest and size <= self._most_bytes:
                break
            size -= bytes_
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # there are more files in it
                path.parent.rmdir()

    async def keep_small(self) -> None:
        """Prune for ever, now and then."""
        while True:
            await asyncio.to_thread(self.prune)
            await asyncio.sleep(_PACE)

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        if os.environ.get(_VARIABLE) == str(self.path):
            del os.environ[_VARIABLE]
        self._folder.cleanup()

    def _files(self) -> list[Path]:
        every = (Path(folder) / name for folder, _, names in os.walk(self.path) for name in names)
        return [path for path in every if path not in self._kept]
