"""The process that opens documents: `python -m vl2.documents.rendering.child`.

It reads one request a line (JSON) and answers with a line of JSON, after a page with the bytes of
its pixels. It may take so much memory and processor time, writes no file and opens no socket. What
it cannot bear ends it: the other side starts another one.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import PIL.Image

from vl2.documents.offline import no_network
from vl2.documents.rendering.confinement import allow_processor, confine
from vl2.errors import ImageError, VL2Error
from vl2.processing.images import DEFAULT_LIMITS, open_image, upright_size

MAX_TEXT = 500_000
"""Characters of a page's text layer that are looked at."""

_MAX_OBJECTS = 5000
_POINTS = 72
_TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class UnopenedError(VL2Error):
    """A document that cannot be opened."""


class Opened(Protocol):
    """A document that is open."""

    count: int

    def page(self, index: int, dpi: float, pixels: int) -> tuple[PIL.Image.Image, str | None]:
        """A page as an RGB picture, and its text layer if it has one of its own."""
        ...


class Pictures:
    """A picture, or a TIFF of several."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._frames = _tiff(path)
        if self._frames is None and path.lower().endswith(".pdf"):
            _check_picture(path)
        self.count = getattr(self._frames, "n_frames", 1)

    def page(self, index: int, dpi: float, pixels: int) -> tuple[PIL.Image.Image, str | None]:
        """A frame upright and in RGB; pictures have their own resolution and no text layer."""
        if self._frames is None:
            with Path(self._path).open("rb") as file:
                return open_image(file.read(DEFAULT_LIMITS.max_bytes + 1)), None
        self._frames.seek(index)
        return open_image(self._frames), None


class Pdf:
    """A PDF, through PDFium (which runs no scripts here)."""

    def __init__(self, path: str) -> None:
        import pypdfium2

        self._library = pypdfium2
        try:
            self._pdf = pypdfium2.PdfDocument(path)
        except pypdfium2.PdfiumError as error:
            raise UnopenedError(_why_closed(path, str(error))) from error
        self._pdf.init_forms()
        self.count = len(self._pdf)

    def page(self, index: int, dpi: float, pixels: int) -> tuple[PIL.Image.Image, str | None]:
        """A page as it prints, forms filled in, at most so many pixels."""
        page = self._pdf[index]
        try:
            width, height = page.get_size()
            if not (0 < width < 1e6 and 0 < height < 1e6):
                raise ValueError(f"the page measures {width:g} x {height:g} points")
            scale = dpi / _POINTS
            scale = min(scale, (pixels / (width * height)) ** 0.5)
            picture = page.render(scale=scale, rev_byteorder=True).to_pil().convert("RGB")
            filled = self._library.raw.FPDFPage_GetAnnotCount(page.raw) > 0
            if filled:  # what is written into a form is no text of its page until it is flattened
                page.flatten(self._library.raw.FLAT_NORMALDISPLAY)
                page.close()
                page = self._pdf[index]
            return picture, self._text(page)
        finally:
            page.close()

    def _text(self, page: Any) -> str | None:  # noqa: ANN401 - an optional library
        """The text layer, if most of it is printed; that of a scan is hidden behind its picture."""
        raw = self._library.raw
        hidden = printed = 0
        for number, item in enumerate(page.get_objects(filter=[raw.FPDF_PAGEOBJ_TEXT])):
            if number == _MAX_OBJECTS:
                break
            mode = raw.FPDFTextObj_GetTextRenderMode(item.raw)
            if mode in (raw.FPDF_TEXTRENDERMODE_INVISIBLE, raw.FPDF_TEXTRENDERMODE_CLIP):
                hidden += 1
            else:
                printed += 1
        if printed <= hidden:
            return None
        layer = page.get_textpage()
        try:
            text = layer.get_text_range(0, min(layer.count_chars(), MAX_TEXT))
        finally:
            layer.close()
        text = "\n".join(line.rstrip() for line in text.splitlines())
        return text if text.strip() else None


def main() -> None:
    """Serve requests until there are no more."""
    warnings.simplefilter("ignore")
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    PIL.Image.init()
    confine(int(sys.argv[1]))
    with no_network():
        _serve(answers)


def _serve(answers: BinaryIO) -> None:
    opened: Opened | None = None
    for line in sys.stdin.buffer:
        request = json.loads(line)
        allow_processor(request["seconds"])
        try:
            if request["do"] == "open":
                opened = Pdf(request["path"]) if request["pdf"] else Pictures(request["path"])
                _answer(answers, {"pages": opened.count})
            elif opened is not None:
                picture, text = opened.page(request["index"], request["dpi"], request["pixels"])
                size = {"width": picture.width, "height": picture.height, "text": text}
                _answer(answers, size, picture.tobytes())
        except MemoryError:
            os._exit(1)  # whoever asked tries once more, in a process that has all its memory
        except VL2Error as error:
            _answer(answers, {"error": str(error).rstrip(".")})
        except (OSError, ValueError, RuntimeError, LookupError, EOFError, SyntaxError) as error:
            _answer(answers, {"error": _reason(error)})


def _answer(answers: BinaryIO, header: dict[str, Any], pixels: bytes = b"") -> None:
    answers.write(json.dumps(header).encode() + b"\n")
    answers.write(pixels)
    answers.flush()


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split())[:300] or type(error).__name__
    return f"it is broken or incomplete ({said})"


def _why_closed(path: str, said: str) -> str:
    """Why PDFium refused a file; its own word may be that of a file before."""
    if _holds(path, b"/Encrypt"):
        return "it is encrypted: save a copy without a password"
    if "Success" in said or "password" in said:
        return "it has no pages"
    return "it is broken or incomplete"


def _holds(path: str, mark: bytes) -> bool:
    before = b""
    with Path(path).open("rb") as file:
        while data := file.read(2**20):
            if mark in before + data:
                return True
            before = data[-len(mark) :]
    return False


def _check_picture(path: str) -> None:
    """Tell whoever calls a file a PDF that it is none; a picture is taken for what it is.

    Raises:
        UnopenedError: it is no picture either.
    """
    try:
        upright_size(path)
    except ImageError as error:
        raise UnopenedError(
            "it is no PDF, though its name says so: there is no %PDF- at its beginning"
        ) from error


def _tiff(path: str) -> PIL.Image.Image | None:
    """A TIFF of several frames, opened and not decoded; None for any other file."""
    with Path(path).open("rb") as file:
        if file.read(4) not in _TIFF_MARKS:
            return None
    frames = PIL.Image.open(path, formats=["TIFF"])
    return frames if getattr(frames, "n_frames", 1) > 1 else None


if __name__ == "__main__":
    main()
