"""Small copies of pages, which the report shows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image

from vl2.documents import files
from vl2.documents.rendering.limits import Limits
from vl2.documents.rendering.renderer import DocumentError, PageError, Renderer
from vl2.documents.results import RESULT
from vl2.documents.settings import digest_of
from vl2.documents.sources import is_pdf

_SIDE, _LONGEST = 1000, 8000
_QUALITY = 80


@dataclass(frozen=True, slots=True)
class Bare:
    """A document that was read without keeping copies of its pages.

    Attributes:
        place: the folder of its result.
        path: the file.
        result: what its result file says.
    """

    place: Path
    path: Path
    result: dict[str, Any]

    @property
    def pages(self) -> list[dict[str, Any]]:
        """The pages without a copy."""
        return [page for page in self.result["pages"] if _is_bare(page)]


def write_copy(place: Path, number: int, picture: PIL.Image.Image) -> str:
    """Keep a small copy of a page in the folder of its document; returns the name of its file."""
    name = f"page-{number:04d}.jpg"
    copy = picture.copy()
    copy.thumbnail((_SIDE, _LONGEST))
    with files.whole(place / name) as file:
        copy.save(file, "JPEG", quality=_QUALITY)
    return name


def bare(place: Path, paths: Iterable[Path], digest: str) -> Iterator[Bare]:
    """The document of a folder, if copies of its pages are missing and its file is still the same.

    Args:
        place: the folder of its result.
        paths: files that held it.
        digest: of their content.
    """
    result = files.read_json(place / RESULT, _is_result)
    if result is None or not any(map(_is_bare, result["pages"])):
        return
    for path in paths:
        with contextlib.suppress(OSError):
            if digest_of(path) == digest:
                yield Bare(place, path, result)
                return


def add_copies(wanting: Iterable[Bare], limits: Limits, on_page: Callable[[], None]) -> None:
    """Render pages once more and keep copies of them; of a page that fails there stays none.

    Args:
        wanting: the documents.
        limits: what they may take.
        on_page: called after each page.
    """
    with contextlib.closing(Renderer(limits)) as renderer:
        for document in wanting:
            with contextlib.suppress(DocumentError, OSError):
                renderer.open(document.path, pdf=is_pdf(document.path))
                _add(document, renderer, on_page)


def _add(document: Bare, renderer: Renderer, on_page: Callable[[], None]) -> None:
    dpi = document.result["settings"]["dpi"]
    for page in document.pages:
        with contextlib.suppress(PageError):
            picture = renderer.page(page["page"] - 1, dpi).picture
            page["picture"] = write_copy(document.place, page["page"], picture)
        on_page()
    files.write_json(document.place / RESULT, document.result)


def _is_bare(page: dict[str, Any]) -> bool:
    return page["error"] is None and page["picture"] is None


def _is_result(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    return isinstance(value, dict) and isinstance(value.get("pages"), list)
