"""Pictures in the cells of a benchmark's file: encoded, or as paths."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vl2.chat import Picture
from vl2.errors import InputError
from vl2.evals.benchmarks.rows import as_list

COLUMNS = (
    *("decoded_image", "image", "images", "image_path", "img_path", "img", "imgname"),
    *("image_local_name", "file_name"),
)
"""Columns that hold the picture of a row, the better ones first."""

_NUMBERED = re.compile(r"image_(\d+)")
_SUFFIX = re.compile(r"\.(jpe?g|png|webp|gif|bmp|tiff?)$", re.IGNORECASE)
_SHORTEST_ENCODED = 65


def pictures_of(values: Mapping[str, Any], folder: Path | None, number: int) -> tuple[Picture, ...]:
    """The pictures of a row.

    Numbered columns (`image_1`, `image_2`) go together; otherwise the first column of `COLUMNS`
    that holds any.

    Args:
        values: the cells.
        folder: where paths begin.
        number: of the row, for messages.

    Raises:
        InputError: a cell holds no picture, or a path leads out of the folder.
    """
    numbered = sorted(
        (int(match[1]), name) for name in values if (match := _NUMBERED.fullmatch(name))
    )
    found = [values[name] for _, name in numbered if values[name] is not None]
    if not found:
        names = (name for name in COLUMNS if values.get(name) not in (None, ""))
        found = next((_several(values[name]) for name in names), [])
    return tuple(_picture(cell, folder, number) for cell in found if cell is not None)


def _several(cell: Any) -> list[Any]:  # noqa: ANN401 - cells are of any type
    if isinstance(cell, str) and cell[:1] == "[":
        # Too long to be read as a literal where it holds encoded pictures.
        return [part.strip(" \"'") for part in cell.strip("[] \n").split(",") if part.strip(" \"'")]
    return [cell] if isinstance(cell, (bytes, Mapping)) else as_list(cell)


def _picture(cell: Any, folder: Path | None, number: int) -> Picture:  # noqa: ANN401
    if isinstance(cell, Mapping):
        return _picture(cell.get("bytes") or cell.get("path"), folder, number)
    if isinstance(cell, bytes):
        return cell
    if isinstance(cell, str) and cell.startswith("data:"):
        return cell
    if isinstance(cell, str) and (_SUFFIX.search(cell) or len(cell) < _SHORTEST_ENCODED):
        return _path(cell, folder, number)
    if isinstance(cell, str):
        try:
            return base64.b64decode(cell, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InputError(
                f"The picture of row {number} is neither base64 nor a path: {cell[:40]!r}..."
            ) from error
    raise InputError(f"The picture of row {number} is {type(cell).__name__}, which is none.")


def _path(cell: str, folder: Path | None, number: int) -> Path:
    if folder is None:
        raise InputError(
            f"Row {number} names the picture {cell!r}: say in which folder it is (--images DIR)."
        )
    place = (folder / cell).resolve()
    if not place.is_relative_to(folder.resolve()):
        raise InputError(f"The picture {cell!r} of row {number} lies outside {str(folder)!r}.")
    beside = folder / Path(cell).name
    return beside if not place.exists() and beside.exists() else place
