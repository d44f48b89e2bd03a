"""Pictures of a request: from their addresses to bytes, sizes and pixels."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

import PIL.Image

from vl2.chat import as_picture
from vl2.errors import ImageError
from vl2.processing.images import Limits, open_image, upright_size

_FULL_SIZE_PICTURES = 3
"""The pictures of a request may have as many pixels together as this many of the largest."""

Result = TypeVar("Result")


def is_web(url: str) -> bool:
    """Whether a picture is to be fetched."""
    return url[:8].lower().startswith(("http://", "https://"))


def decoded(url: str) -> bytes:
    """The bytes that a `data:` URL holds; never those of a file on this machine.

    Raises:
        ImageError: it is no such address, or malformed.
    """
    if not url[:5].lower() == "data:":
        raise ImageError("A picture must be a data: URL with its bytes, or an http(s) address.")
    picture = as_picture(url)
    assert isinstance(picture, bytes)
    return picture


def sizes(pictures: Sequence[bytes], limits: Limits) -> list[tuple[int, int]]:
    """The sizes of the pictures of a request, by what their heads say.

    Raises:
        ImageError: one of them is no picture, or they are too large together.
    """
    found = _of_each(pictures, functools.partial(upright_size, limits=limits))
    allowed = _FULL_SIZE_PICTURES * limits.max_pixels
    pixels = itertools.accumulate(width * height for width, height in found)
    for number, sum_so_far in enumerate(pixels, start=1):
        if sum_so_far > allowed:
            raise ImageError(
                f"The first {number} pictures have together more than {allowed} pixels: send "
                "fewer, or smaller ones."
            )
    return found


def opened(pictures: Sequence[bytes], limits: Limits) -> list[PIL.Image.Image]:
    """The pictures of a request, decoded.

    Raises:
        ImageError: one of them is broken.
    """
    return _of_each(pictures, functools.partial(open_image, limits=limits))


def _of_each(pictures: Sequence[bytes], read: Callable[[bytes], Result]) -> list[Result]:
    """What is read of each picture; an error says which one it was."""

    def one(number: int, picture: bytes) -> Result:
        try:
            return read(picture)
        except ImageError as error:
            which = f"Picture {number} of {len(pictures)}: " if len(pictures) > 1 else ""
            raise ImageError(f"{which}{error}") from error

    return [one(number, picture) for number, picture in enumerate(pictures, start=1)]
