"""Letters as small masks: the fonts that matplotlib and Pillow bring along, rendered once a size.

Opening a font and rasterising its letters costs far more than pasting them, so the letters of
one font at one size are kept, and the sizes are few (`rounded_size`).
"""

import functools
import importlib.util
import pathlib
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from vl2.errors import MissingExtraError
from vl2.synth.names import CHARACTERS
from vl2.synth.recut import CUTS, changed, scale_of

_FILES: tuple[str, ...] = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSerif-BoldItalic",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "STIXGeneralBolIta",
)
PILLOW_DEFAULT = "Pillow default"
FONTS: tuple[str, ...] = (*_FILES, PILLOW_DEFAULT)

TRAINED_FONTS: tuple[str, ...] = (*FONTS, *CUTS)
"""What documents to train on are printed in: the same fonts, in more widths and weights too."""

HELD_OUT_FONTS: tuple[str, ...] = ("cmr10", "cmb10", "cmss10", "cmtt10")
"""Fonts (Computer Modern) of held-out documents and charts alone; they have no euro sign."""

MARKS = ":-"
"""Printed beside `CHARACTERS`, but never asked for."""

_BOLD = {"STIXGeneral": "STIXGeneralBol", "cmr10": "cmb10"}


@dataclass(frozen=True, slots=True)
class Glyph:
    """One letter: its ink as a mask, where the mask lies from the pen, and the step to the next."""

    mask: Image.Image
    left: int
    top: int
    advance: int


@dataclass(frozen=True, slots=True)
class GlyphSet:
    """The letters of one font at one size; `ascent` and `descent` are those of its tallest ones."""

    glyphs: dict[str, Glyph]
    ascent: int
    descent: int
    mean_advance: float


@functools.cache
def _font_folder() -> pathlib.Path:
    found = importlib.util.find_spec("matplotlib")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError.for_extra("train", "Rendering pictures, with matplotlib's fonts,")
    return pathlib.Path(found.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf"


def open_font(name: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """One of `FONTS` or `HELD_OUT_FONTS` at `size` pixels to the em.

    Raises:
        MissingExtraError: matplotlib, which brings the fonts, is not installed.
    """
    if name == PILLOW_DEFAULT:
        return ImageFont.load_default(size)
    path = _font_folder() / f"{name}.ttf"
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def bold(name: str) -> str:
    """The bold sister of an upright font; any other font itself."""
    sister = _BOLD.get(name, f"{name}-Bold")
    return sister if sister in FONTS + HELD_OUT_FONTS else name


def rounded_size(size: float) -> int:
    """The nearest font size in use: all up to 28, then steps that grow with the size."""
    step = 1 if size < 28 else 2 if size < 48 else 4 if size < 96 else 8
    return max(8, step * round(size / step))


def _glyphs(name: str, size: int) -> dict[str, Glyph]:
    font = open_font(name, size)
    glyphs: dict[str, Glyph] = {}
    for character in CHARACTERS + MARKS:
        left, top, right, bottom = font.getbbox(character, anchor="ls")
        mask = Image.new("L", (max(1, int(right - left)), max(1, int(bottom - top))))
        ImageDraw.Draw(mask).text((-left, -top), character, fill=255, font=font, anchor="ls")
        advance = max(1, round(font.getlength(character)))
        glyphs[character] = Glyph(mask, int(left), int(top), advance)
    return glyphs


def _cut_glyphs(name: str, size: int) -> dict[str, Glyph]:
    cut = CUTS[name]
    font = open_font(cut.font, scale_of(size) * size)
    return {
        character: Glyph(*changed(character, font, cut, size)) for character in CHARACTERS + MARKS
    }


@functools.lru_cache(maxsize=2048)
def glyph_set(name: str, size: int) -> GlyphSet:
    """Every printable character of the font or the cut `name` at `size` pixels to the em.

    Raises:
        MissingExtraError: matplotlib, which brings the fonts, is not installed.
    """
    glyphs = _cut_glyphs(name, size) if name in CUTS else _glyphs(name, size)
    letters = [
        glyphs[character] for character in "bdfhkltgjpqyABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    ]
    return GlyphSet(
        glyphs,
        ascent=max(-glyph.top for glyph in letters),
        descent=max(glyph.top + glyph.mask.height for glyph in letters),
        mean_advance=sum(glyph.advance for glyph in letters) / len(letters),
    )
