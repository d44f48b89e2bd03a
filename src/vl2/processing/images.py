"""Pictures: opening them safely and cutting them into the tiles that the model sees.

Opening takes a picture as people have it (any common format, turned by its EXIF tag, with a
palette or transparency) and gives an upright RGB image. Cutting equals the original release bit
for bit and changes nothing else.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.Image import Resampling, Transpose

from vl2.chat import Picture, as_picture
from vl2.errors import ImageError, MissingExtraError
from vl2.processing.colour import to_rgb
from vl2.processing.tiling import Grid, Tiling

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "AVIF")
"""Pillow's names of the formats that are opened; none of them runs a foreign program.

Older versions of Pillow lack AVIF.
"""

ENDINGS = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif"),
)
"""Names of pictures end like this, in small letters or capitals."""

_DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    EOFError,
    OverflowError,
    RuntimeError,
    AssertionError,
    MemoryError,
    struct.error,
    zlib.error,
    PIL.Image.DecompressionBombError,
)
"""What Pillow's decoders raise on broken files; they have no common base."""

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

PDF_MARK_WITHIN = 1024
"""Bytes at the beginning of a file, among which those of a PDF have a mark."""

_PDF_MARK = b"%PDF-"
_ORIENTATION_TAG = 0x0112

_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


_SIDEWAYS = (
    Transpose.TRANSPOSE,
    Transpose.ROTATE_270,
    Transpose.TRANSVERSE,
    Transpose.ROTATE_90,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a picture may be; checked before anything is decoded.

    Attributes:
        max_pixels: width times height. The default keeps a decoded picture, 4 bytes a pixel, under
            340 MiB and stays below the size at which Pillow itself warns.
        max_side: width or height. Resizing takes some 30 bytes for each pixel of a side, so a thin
            picture would need gigabytes.
        max_bytes: size of the encoded file.
    """

    max_pixels: int = 89_000_000
    max_side: int = 1_000_000
    max_bytes: int = 128 * 2**20


DEFAULT_LIMITS = Limits()

_LONGEST_PATH = 1024


def open_image(picture: Picture, *, limits: Limits = DEFAULT_LIMITS) -> PIL.Image.Image:
    """Open a picture as an upright RGB image.

    JPEG, PNG, WebP, GIF (its first frame), TIFF, BMP, AVIF and PNM are read by Pillow, HEIC by the
    optional pillow-heif. An EXIF orientation is applied, transparency is dropped as Pillow's
    `convert("RGB")` drops it, and more than 8 bits a channel are scaled down.

    Args:
        picture: a path, encoded bytes, or a PIL image (which is not changed).
        limits: how large the picture may be.

    Returns:
        An image of mode RGB that shares no pixels with `picture`.

    Raises:
        ImageError: the picture is missing, empty, broken, too large, or of an unknown kind.
        MissingExtraError: a HEIC picture without pillow-heif.
    """
    picture = as_picture(picture)
    if isinstance(picture, PIL.Image.Image):
        return _decode(picture, f"The picture of {picture.width}x{picture.height} pixels", limits)
    name, data = _named(picture, limits)
    with _open_encoded(data, name, limits) as image:
        return _decode(image, name, limits)


def upright_size(picture: Picture, *, limits: Limits = DEFAULT_LIMITS) -> tuple[int, int]:
    """Width and height that `open_image` would give, from the header alone: no pixel is decoded.

    Raises:
        ImageError: as `open_image`, but for what only decoding finds.
        MissingExtraError: a HEIC picture without pillow-heif.
    """
    picture = as_picture(picture)
    if isinstance(picture, PIL.Image.Image):
        return open_image(picture, limits=limits).size
    name, data = _named(picture, limits)
    with _open_encoded(data, name, limits) as image:
        _check_pixels(name, image.size, limits)
        width, height = image.size
        turned = _UPRIGHT.get(_orientation(image)) in _SIDEWAYS
    return (height, width) if turned else (width, height)


def cut(
    image: PIL.Image.Image,
    grid: Grid,
    tiling: Tiling,
    mean: Sequence[float] = (0.5, 0.5, 0.5),
    std: Sequence[float] = (0.5, 0.5, 0.5),
    *,
    normalize: bool = True,
) -> NDArray[np.float32]:
    """Cut a picture into the tiles that the vision encoder sees (paper section 3.1).

    The picture is letterboxed to one tile for the global view and to the whole grid for the local
    ones, with a margin in the mean colour.

    Args:
        image: an RGB image.
        grid: how many local tiles.
        tiling: the rule that gave the grid.
        mean: mean of each channel, for values in 0..1; also the colour of the margin.
        std: standard deviation of each channel.
        normalize: subtract the mean and divide by the deviation; otherwise values stay in 0..1.

    Returns:
        float32 `[1 + columns * rows, 3, s, s]`: the global view, then the local tiles row by row.
    """
    side = tiling.tile_size
    fill = tuple(int(value * 255) for value in mean)
    table = _normalised(mean, std) if normalize else _normalised((0.0,) * 3, (1.0,) * 3)
    whole = _tiles(letterbox(image, (side, side), fill), side, table)
    if grid == Grid(1, 1):
        return np.concatenate([whole, whole])
    local = _tiles(letterbox(image, tiling.canvas(grid), fill), side, table)
    return np.concatenate([whole, local])


def letterbox(
    image: PIL.Image.Image, size: tuple[int, int], fill: tuple[int, ...]
) -> PIL.Image.Image:
    """Resize a picture to fit into `size`, keeping its shape, and fill the margin around it.

    The same pixels as Pillow's `ImageOps.pad`, except that a picture that is too thin for even
    one pixel keeps one, where Pillow loses the picture.
    """
    inner = fitted_size(image.size, size)
    resized = image.resize(inner, Resampling.BICUBIC)
    if inner == size:
        return resized
    canvas = PIL.Image.new("RGB", size, fill)
    canvas.paste(resized, (round((size[0] - inner[0]) / 2), round((size[1] - inner[1]) / 2)))
    return canvas


def fitted_size(image: tuple[int, int], frame: tuple[int, int]) -> tuple[int, int]:
    """The size of a picture that is resized to fit into a frame; each side at least one pixel.

    Args:
        image: width and height of the picture.
        frame: width and height of the frame.
    """
    shape, frame_shape = image[0] / image[1], frame[0] / frame[1]
    if shape > frame_shape:
        return frame[0], max(1, round(image[1] / image[0] * frame[0]))
    if shape < frame_shape:
        return max(1, round(image[0] / image[1] * frame[1])), frame[1]
    return frame


def _named(picture: str | os.PathLike[str] | bytes, limits: Limits) -> tuple[str, bytes]:
    """What to call a picture, and its bytes."""
    if isinstance(picture, bytes):
        name, data = "The picture", picture
    else:
        name, data = _called(picture), _read(picture, limits)
    if not data:
        raise ImageError(f"{name} is empty (0 bytes): hand in a whole picture.")
    _check_bytes(name, len(data), limits)
    return name, data


def _read(path: str | os.PathLike[str], limits: Limits) -> bytes:
    """Read a file, at most one byte more than is allowed."""
    name = _called(path)
    try:
        with Path(path).open("rb") as file:
            _check_bytes(name, os.fstat(file.fileno()).st_size, limits)
            return file.read(limits.max_bytes + 1)
    except FileNotFoundError as error:
        raise ImageError(f"{name} does not exist: check the picture's path.") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        # Windows denies access to folders; a name may be too long to be asked about
        if isinstance(error, PermissionError | IsADirectoryError) and Path(path).is_dir():
            raise ImageError(f"{name} is a folder: name a picture inside it.") from error
        raise ImageError(f"{name} cannot be read ({reason}): hand in a readable file.") from error


def _called(path: str | os.PathLike[str]) -> str:
    """A path in quotes; of one that is too long for any file the beginning."""
    name = os.fspath(path)
    return f"{name!r}" if len(name) <= _LONGEST_PATH else f"{name[:60]!r}..."


def _check_bytes(name: str, size: int, limits: Limits) -> None:
    if size > limits.max_bytes:
        # Of what has no end, no more than the first byte too many was read
        stated = f"{size / 2**20:.1f} MiB, " if size > limits.max_bytes + 1 else ""
        raise ImageError(
            f"{name} has {stated}more than the allowed "
            f"{limits.max_bytes / 2**20:.1f} MiB: hand in a smaller file."
        )


def _check_pixels(name: str, size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise ImageError(
            f"{name} has {width}x{height} pixels, more than the allowed "
            f"{limits.max_pixels / 1e6:.1f} million: scale it down first."
        )
    if max(size) > limits.max_side:
        raise ImageError(
            f"{name} has {width}x{height} pixels, and no side may have more than "
            f"{limits.max_side}: cut it into parts first."
        )


def is_pdf(data: bytes) -> bool:
    """Whether the bytes of a file say at their beginning that it is a PDF."""
    return _PDF_MARK in data[:PDF_MARK_WITHIN]


def _open_encoded(data: bytes, name: str, limits: Limits) -> PIL.Image.Image:
    """Read the header of an encoded picture; nothing is decoded yet."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        return _open_heif(data, name)
    PIL.Image.init()
    formats = [name for name in FORMATS if name in PIL.Image.OPEN]
    try:
        return PIL.Image.open(io.BytesIO(data), formats=formats)
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        allowed = min(limits.max_pixels, 2 * (PIL.Image.MAX_IMAGE_PIXELS or limits.max_pixels))
        raise ImageError(
            f"{name} has more than the allowed {allowed / 1e6:.1f} million pixels: "
            "scale it down first."
        ) from error
    except PIL.UnidentifiedImageError as error:
        if is_pdf(data):
            raise ImageError(
                f"{name} is a PDF, and no picture: vl2 read reads PDFs "
                "(pip install 'vl2[documents]')."
            ) from error
        raise ImageError(
            f"{name} is not a picture of a known kind: use JPEG, PNG, WebP, GIF, TIFF, BMP, PNM, "
            "AVIF or HEIC."
        ) from error
    except _DECODING_ERRORS as error:
        raise _broken(name, error) from error


def _open_heif(data: bytes, name: str) -> PIL.Image.Image:
    """Open a HEIC picture, if the plugin is installed."""
    try:
        import pillow_heif
    except ImportError as error:
        raise MissingExtraError.for_extra("heic", f"{name} is a HEIC picture, which") from error
    try:
        return pillow_heif.HeifImageFile(io.BytesIO(data))
    except _DECODING_ERRORS as error:
        raise _broken(name, error) from error


def _decode(image: PIL.Image.Image, name: str, limits: Limits) -> PIL.Image.Image:
    """Decode the pixels, turn them upright and make them RGB."""
    _check_pixels(name, image.size, limits)
    if min(image.size) < 1:
        raise ImageError(f"{name} has no pixels ({image.width}x{image.height}).")
    try:
        image.load()
        turn = _UPRIGHT.get(_orientation(image))
        rgb = to_rgb(image)
    except _DECODING_ERRORS as error:
        raise _broken(name, error) from error
    upright = rgb if turn is None else rgb.transpose(turn)
    upright.info.clear()  # the tag in there would turn the picture again when it is opened again
    return upright


def _orientation(image: PIL.Image.Image) -> int:
    """The EXIF orientation; a broken tag counts as upright, since the pixels are fine."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except _DECODING_ERRORS:
        return 1


def _broken(name: str, error: BaseException) -> ImageError:
    return ImageError(
        f"{name} is broken or incomplete ({str(error) or type(error).__name__}): "
        "hand in a whole picture."
    )


def _normalised(mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """float32 `[3, 256]`: what each byte becomes, in the arithmetic of ToTensor and Normalize."""
    scaled = np.arange(256, dtype=np.float32) / np.float32(255)
    means = np.asarray(mean, dtype=np.float32)[:, None]
    deviations = np.asarray(std, dtype=np.float32)[:, None]
    return ((scaled - means) / deviations).astype(np.float32)


def _tiles(canvas: PIL.Image.Image, side: int, table: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut a canvas into float32 `[n, 3, s, s]` tiles, row by row."""
    pixels = np.asarray(canvas)
    rows, columns = pixels.shape[0] // side, pixels.shape[1] // side
    blocks = pixels.reshape(rows, side, columns, side, 3).transpose(0, 2, 4, 1, 3)
    tiles = np.empty(blocks.shape, dtype=np.float32)
    for channel in range(3):
        np.take(table[channel], blocks[:, :, channel], out=tiles[:, :, channel])
    return tiles.reshape(rows * columns, 3, side, side)
