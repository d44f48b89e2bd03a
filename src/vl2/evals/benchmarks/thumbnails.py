"""Small copies of pictures, so that a report needs neither the data nor a network."""

from __future__ import annotations

import hashlib
from pathlib import Path

import PIL.Image

from vl2.chat import Picture
from vl2.processing.images import open_image

SIDE = 320
_QUALITY = 80


def thumbnail_path(folder: Path, name: str) -> Path:
    """Where the small copy for a question is; ids may hold anything, so its name is a digest."""
    return folder / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.jpg"


def save_thumbnail(picture: Picture, folder: Path, name: str) -> None:
    """Save a small copy of a picture."""
    image = picture if isinstance(picture, PIL.Image.Image) else open_image(picture)
    small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    small.save(thumbnail_path(folder, name), "JPEG", quality=_QUALITY)
