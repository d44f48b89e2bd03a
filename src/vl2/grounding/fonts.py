"""Fonts for labels: the one that comes with Pillow, and wider ones where they are installed.

Pillow's own font holds little more than ASCII. For other letters an installed font is looked for;
where none has them, each missing character is spelled as its code point in brackets, and a
warning says so. Empty boxes never stand for letters.
"""

from __future__ import annotations

import functools
import math
import os
import warnings
from collections.abc import Iterator

import PIL.Image
from PIL import ImageDraw, ImageFont

from vl2.errors import InputError

FONT_VARIABLE = "VL2_FONT"
"""Environment variable that names a font file to draw labels with."""

Font = ImageFont.FreeTypeFont

# Broad fonts first. Names that the system's loader can find, and paths where it does not look.
_INSTALLED = (
    "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/google-noto-cjk/NotoSansCJK-Regular.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc",
    "/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc",
    "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf",
    "/System/Library/Fonts/PingFang.ttc",
    "/System/Library/Fonts/Hiragino Sans GB.ttc",
    "/System/Library/Fonts/STHeiti Light.ttc",
    "/System/Library/Fonts/Supplemental/Arial Unicode.ttf",
    "C:/Windows/Fonts/msyh.ttc",
    "C:/Windows/Fonts/simsun.ttc",
    "C:/Windows/Fonts/malgun.ttf",
    "C:/Windows/Fonts/YuGothM.ttc",
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/TTF/DejaVuSans.ttf",
    "/System/Library/Fonts/Helvetica.ttc",
    "C:/Windows/Fonts/arial.ttf",
)


class MissingGlyphWarning(UserWarning):
    """No font at hand has some of a label's characters."""


def legible(text: str, size: int) -> tuple[str, Font]:
    """Choose a font that can show a text.

    Args:
        text: a label.
        size: height of the letters in pixels.

    Returns:
        The text, with characters that no font has spelled as `[U+4E2D]`, and the font.

    Raises:
        InputError: the file that the environment variable names is no font.
    """
    text = "".join(c if c.isprintable() else " " for c in text)
    best: tuple[int, Font] | None = None
    for font in _fonts(size):
        missing = sum(not _has(font, character) for character in set(text))
        if not missing:
            return text, font
        if best is None or missing < best[0]:
            best = (missing, font)
    assert best is not None  # the bundled font is always among them
    font = best[1]
    lacking = sorted({c for c in text if not _has(font, c)})
    warnings.warn(
        f"No installed font shows {', '.join(map(_code_point, lacking))} of the label {text!r}; "
        f"name a font file that does in {FONT_VARIABLE}.",
        MissingGlyphWarning,
        stacklevel=3,
    )
    spelled = {ord(c): f"[{_code_point(c)}]" for c in lacking}
    return text.translate(spelled), font


def _fonts(size: int) -> Iterator[Font]:
    """Fonts in the order of preference; opened only when asked for."""
    named = os.environ.get(FONT_VARIABLE)
    if named:
        font = _opened(named, size)
        if font is None:
            raise InputError(
                f"{FONT_VARIABLE} names {named!r}, which cannot be opened as a font: "
                "name a .ttf, .otf or .ttc file, or unset it."
            )
        yield font
    yield _bundled(size)
    for path in _INSTALLED:
        font = _opened(path, size)
        if font is not None:
            yield font


@functools.lru_cache(maxsize=64)
def _bundled(size: int) -> Font:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow returns it whenever a size is given
    return font


@functools.lru_cache(maxsize=256)
def _opened(path: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(path, size)
    except OSError:
        return None


@functools.lru_cache(maxsize=4096)
def _has(font: Font, character: str) -> bool:
    """Whether the font draws something of its own for a character.

    A font draws the same shape for every character that it lacks; U+FFFF is never in a font.
    """
    return character.isspace() or _shape(font, character) != _shape(font, "\uffff")


def _shape(font: Font, character: str) -> tuple[tuple[float, float, float, float], bytes]:
    """Extent and coverage of what a font draws for a character."""
    extent = font.getbbox(character)
    canvas = PIL.Image.new("L", (max(1, math.ceil(extent[2])), max(1, math.ceil(extent[3]))))
    ImageDraw.Draw(canvas).text((0, 0), character, fill=255, font=font)
    return extent, canvas.tobytes()


def _code_point(character: str) -> str:
    return f"U+{ord(character):04X}"
