"""Files that are there as a whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from vl2.errors import InputError

if sys.platform != "win32":
    import fcntl

_PART, _LOCK = ".part", ".lock"


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write; it takes its name, in one move, when the block ends without an error.

    A process that is killed inside leaves a file `.NAME.PID.part`, which `clear_parts` takes away.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}{_PART}")
    try:
        with part.open("w+b") as file:  # some formats read what they wrote
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write(path: Path, data: bytes | str) -> None:
    """Write a whole file; text as UTF-8, whatever odd halves of characters it holds."""
    with whole(path) as file:
        file.write(data.encode("utf-8", "replace") if isinstance(data, str) else data)


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write a value as JSON that people can read."""
    write(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def read_json(path: Path, check: Callable[[Any], bool] = bool) -> Any:  # noqa: ANN401 - any JSON value
    """The value of a JSON file; None where there is none, it is no JSON, or `check` refuses it."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if check(value) else None


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other processes of this machine out of a folder of results, where it can be locked.

    Raises:
        InputError: another process holds it, or nothing can be written to it.
    """
    if sys.platform == "win32":
        yield
        return
    with _opened(folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"Another run writes to {str(folder)!r}: wait for it, or name another folder."
            ) from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP):  # of some network file systems
                raise
        yield


def _opened(folder: Path) -> BinaryIO:
    try:
        return (folder / _LOCK).open("wb")
    except OSError as error:
        raise InputError(
            f"{str(folder)!r} cannot be written to ({error.strerror}): name another folder."
        ) from error


def clear_parts(folder: Path) -> None:
    """Take away what killed processes left unfinished in a folder."""
    for part in folder.glob(f".*{_PART}"):
        part.unlink(missing_ok=True)
