"""Fonts cut anew: narrower, wider, lighter or heavier than they come.

Three families of fonts are at hand to learn letters from. What differs between fonts that were
never seen is above all how wide letters are and how strong their strokes, so training prints each
of them in several widths and weights.
"""

from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFilter, ImageFont

_EM = 128
"""Pixels to the em in which strokes are made thinner or thicker."""

_STROKE = 0.012
"""By how much of an em each side of a stroke moves."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How a font is changed: its width as a factor; -1 for lighter, 1 for heavier strokes."""

    font: str
    width: float
    weight: int = 0


def _cuts() -> dict[str, Cut]:
    """Hairlines vanish when they are made lighter, so fonts that have some become heavier."""
    even = ("DejaVuSans", "DejaVuSans-Oblique", "DejaVuSerif", "DejaVuSerif-Italic")
    fine = ("DejaVuSansMono", "STIXGeneral", "STIXGeneralItalic", "Pillow default")
    found = [Cut(font, width, -1) for font in even for width in (0.82, 1.0, 1.15)]
    found += [Cut(font, width) for font in (*even, *fine) for width in (0.85, 1.15)]
    found += [Cut(font, 1.0, 1) for font in ("STIXGeneral", "STIXGeneralItalic", "Pillow default")]
    found += [Cut("DejaVuSansMono", 0.9, -1), Cut("DejaVuSansMono", 1.05, -1)]
    return {f"{cut.font}, width {cut.width}, weight {cut.weight}": cut for cut in found}


CUTS: dict[str, Cut] = _cuts()
"""Every cut by its name."""


def scale_of(size: int) -> int:
    """How many times larger a letter of `size` pixels to the em is drawn before it is changed."""
    return max(2, min(8, round(_EM / size)))


def changed(
    character: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, cut: Cut, size: int
) -> tuple[Image.Image, int, int, int]:
    """One letter of a cut.

    Args:
        character: The letter.
        font: The cut's font at `scale_of(size)` times the wished size.
        cut: How the letter is changed.
        size: The wished size in pixels to the em.

    Returns:
        Its ink as a mask, where the mask lies from the pen to the right and downwards, and the
        step to the next letter, in pixels.
    """
    scale = scale_of(size)
    across = scale / cut.width
    x1, y1, x2, y2 = font.getbbox(character, anchor="ls")
    left, top = int(x1 // across) - 1, int(y1 // scale) - 1
    right, bottom = int(-(-x2 // across)) + 1, int(-(-y2 // scale)) + 1
    large = Image.new("L", (round((right - left) * across), (bottom - top) * scale))
    corner = (-left * across, -top * scale)
    ImageDraw.Draw(large).text(corner, character, fill=255, font=font, anchor="ls")
    if cut.weight:
        reach = 2 * max(1, round(_STROKE * scale * size)) + 1
        edge = ImageFilter.MaxFilter if cut.weight > 0 else ImageFilter.MinFilter
        large = large.filter(edge(reach))
    mask = large.resize((right - left, bottom - top), Image.Resampling.BOX)
    ink = mask.getbbox() or (0, 0, 1, 1)
    advance = max(1, round(font.getlength(character) / across))
    return mask.crop(ink), left + ink[0], top + ink[1], advance
