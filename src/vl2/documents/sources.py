"""Which files there are to read: files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from vl2.documents.settings import is_folder_name
from vl2.errors import InputError
from vl2.processing import images

_ENDINGS = frozenset((".pdf", *images.ENDINGS))


def find(words: Iterable[str | os.PathLike[str]], skip: Path | None = None) -> list[Path]:
    """The files that words name, each once, in the order of the words.

    Args:
        words: files, folders (searched with all folders in them, links to folders left out) and
            patterns such as `scans/**/*.pdf`. A file that is named is taken whatever its ending;
            of folders only PDFs and what is named like a picture.
        skip: a folder that is not searched: where results go. Should it be one of the words, or a
            pattern lead into it, results that are in it are left out.

    Raises:
        InputError: a word names nothing, or a folder holds nothing to read.
    """
    found: dict[Path, None] = {}
    skip = None if skip is None else skip.resolve()
    for word in words:
        name = _expanded(os.fspath(word))
        before = len(found)
        paths = list(_named(name))
        for path in paths:
            found.update(dict.fromkeys(_files(path, skip)))
        if len(found) == before and not any(path.is_file() for path in paths):
            raise InputError(_nothing(name, paths))
    if not found:
        raise InputError("There is nothing to read: name pictures, PDFs or folders of them.")
    return list(found)


def is_pdf(path: Path) -> bool:
    """Whether a file says at its beginning that it is a PDF, whatever its name.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return images.is_pdf(file.read(images.PDF_MARK_WITHIN))


def _expanded(name: str) -> str:
    """A path with its `~` resolved; as it is where there is no such user."""
    try:
        return str(Path(name).expanduser()) if name else name
    except RuntimeError:
        return name


def _named(name: str) -> Iterator[Path]:
    """A path as it is; else what it matches as a pattern, sorted."""
    try:
        there = bool(name) and Path(name).exists()
    except (OSError, ValueError):  # too long for a path, or a null byte in it
        there = False
    if there:
        yield Path(name)
    elif glob.has_magic(name):
        # Unlike `Path.glob` this takes patterns that begin at the root.
        yield from map(Path, sorted(glob.glob(name, recursive=True)))  # noqa: PTH207


def _files(path: Path, skip: Path | None) -> Iterator[Path]:
    if path.is_file():
        if not _is_result(path.parent, skip):
            yield path
    elif path.is_dir():
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(
                name for name in folders if name[0] != "." and not _left_out(folder, name, skip)
            )
            for name in sorted(names):
                file = Path(folder, name)
                if file.suffix.lower() in _ENDINGS and name[0] != "." and file.is_file():
                    yield file


def _left_out(folder: str, name: str, skip: Path | None) -> bool:
    path = Path(folder, name)
    return skip is not None and (path.resolve() == skip or _is_result(path, skip))


def _is_result(folder: Path, skip: Path | None) -> bool:
    """Whether a folder holds the result of a document."""
    return skip is not None and is_folder_name(folder.name) and skip in folder.resolve().parents


def _nothing(name: str, paths: list[Path]) -> str:
    if len(paths) == 1 and paths[0].is_dir():
        kinds = ", ".join(sorted(_ENDINGS))
        return f"The folder {name!r} holds nothing to read: no file that ends with {kinds}."
    if paths:
        return f"{name!r} is neither a file nor a folder with pictures or PDFs."
    return f"{name!r} does not exist: name a picture, a PDF, a folder or a pattern that matches."
