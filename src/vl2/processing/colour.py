"""Colour modes: every mode that Pillow opens becomes 8-bit RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

_WIDE_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Modes of more than 8 bits, where Pillow's own conversion clips at 255."""


# In float64, several times over: a whole picture would take gigabytes.
_VALUES_AT_ONCE = 2**20


def to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    """Make a loaded image RGB.

    Modes of 8 bits go through Pillow's `convert("RGB")`, as in the original: transparency is
    dropped, not blended. Wider modes are scaled to 8 bits instead of clipped.

    Args:
        image: a loaded image of any mode; it is not changed.

    Returns:
        A new image of mode RGB.
    """
    if image.mode in _WIDE_MODES:
        grey = _to_bytes(np.asarray(image), sixteen_bit=image.mode.startswith("I;16"))
        return PIL.Image.fromarray(grey).convert("RGB")
    if image.mode == "La":
        return image.convert("LA").convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        # Pillow warns about a table of transparencies, which a picture without alpha has no use for
        image = image.copy()
        del image.info["transparency"]
    return image.convert("RGB")


def _to_bytes(values: NDArray[Any], *, sixteen_bit: bool) -> NDArray[np.uint8]:
    """Scale grey values `[h, w]` to 0..255.

    16-bit modes have a known range. Integers of 32 bits and floats do not say theirs, so it is
    read off the largest value: 1 (floats only), 255, 65535, or else that value itself.
    """
    peak = float(values.max(initial=0, where=np.isfinite(values)))
    if sixteen_bit or 255 < peak <= 65535:
        top = 65535.0
    elif values.dtype.kind == "f" and peak <= 1:
        top = 1.0
    else:
        top = max(peak, 255.0)
    flat = values.reshape(-1)
    grey = np.empty(flat.shape, dtype=np.uint8)
    for start in range(0, len(flat), _VALUES_AT_ONCE):
        part = slice(start, start + _VALUES_AT_ONCE)
        finite = np.nan_to_num(flat[part].astype(np.float64), posinf=0.0, neginf=0.0)
        grey[part] = np.rint(finite.clip(0, top) * (255 / top))
    return grey.reshape(values.shape)
