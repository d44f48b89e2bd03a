"""The files that people have: VLMEvalKit's TSV, parquet and JSON of the hub, JSON of COCO."""

from __future__ import annotations

import csv
import importlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vl2.errors import InputError, MissingExtraError
from vl2.evals.benchmarks.pictures import pictures_of
from vl2.evals.benchmarks.rows import Row

SUFFIXES = (".tsv", ".parquet", ".jsonl", ".json")
"""Endings of files that can be read."""

MAX_CELL = 256 * 2**20
MAX_JSON = 2 * 2**30
_LONGEST_REFERENCE = 64
_PARQUET_ROWS = 16
_HALF = re.compile(r"\\u[dD][89a-fA-F]")

JOINED = (
    "join them, one row a box with file_name, bbox (left, top, width, height), sentences (a list) "
    "and split, as a .json or .jsonl file."
)
"""What makes a file of RefCOCO's own layout, whose expressions lie beside its boxes, readable."""

Values = Mapping[str, Any]


def read_rows(path: Path, images: Path | None = None) -> Iterator[Row]:
    """The rows of a file in order, one at a time.

    Args:
        path: `.tsv` (VLMEvalKit; pictures as base64), `.parquet` (a file, or a folder of shards),
            `.jsonl`, or `.json` (a list of rows, one under `data`, rows by their ids, or
            COCO-style `images` and `annotations`).
        images: folder of pictures that rows name by path; that of the file if None.

    Raises:
        InputError: the file is absent, of another kind, or broken, or has `refs` apart from boxes.
        MissingExtraError: parquet without pyarrow.
    """
    folder = images if images is not None else (path if path.is_dir() else path.parent)
    readers = {".tsv": _tsv, ".parquet": _parquet, ".jsonl": _json_lines, ".json": _json}
    shards = find_files(path)
    rows = itertools.chain.from_iterable(readers[shard.suffix](shard) for shard in shards)
    for number, values in enumerate(rows, start=1):
        yield Row(number, values, pictures_of(values, folder, number))


def find_files(path: Path) -> list[Path]:
    """The files that hold a benchmark: one, or the shards in a folder; nothing is opened.

    Raises:
        InputError: the file is absent or of another kind.
    """
    if not path.exists():
        raise InputError(f"There is no file {str(path)!r}: name the benchmark's data.")
    shards = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not shards or shards[0].suffix not in SUFFIXES:
        raise InputError(
            f"{str(path)!r} is no benchmark file: use one that ends in {', '.join(SUFFIXES)}, or a "
            "folder of parquet files."
        )
    return shards


def _tsv(path: Path) -> Iterator[Values]:
    """Rows of a TSV. A short `image` names the row whose picture it shares."""
    wanted = {
        values["image"] for values in _lines(path) if len(values.get("image") or "?" * 99) < 65
    }
    wanted = {name for name in wanted if name.isdecimal()}
    shared = {
        values["index"]: values["image"]
        for values in (_lines(path) if wanted else ())
        if values.get("index") in wanted and len(values["image"] or "") > _LONGEST_REFERENCE
    }
    for values in _lines(path):
        image = values.get("image")
        yield {**values, "image": shared.get(image, image)} if image in shared else values


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    before = csv.field_size_limit(MAX_CELL)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for values in csv.DictReader(file, delimiter="\t"):
                values.pop(None, None)
                yield values
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{str(path)!r} is not a TSV in UTF-8 ({error}).") from error
    finally:
        csv.field_size_limit(before)


def _parquet(path: Path) -> Iterator[Values]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtraError.for_extra("eval", f"{str(path)!r} is a parquet file, which") from (
            error
        )
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                yield from batch.to_pylist()
    except (ValueError, OSError) as error:  # pyarrow's errors derive from these
        raise InputError(f"{str(path)!r} is not a whole parquet file ({error}).") from error


def _parsed(text: str) -> Any:  # noqa: ANN401 - any JSON
    """Read JSON whose texts can be written again.

    Raises:
        ValueError: it is no JSON, or holds half characters, which no model and no file takes.
    """
    held = json.loads(text)
    if _HALF.search(text):  # most are halves of a pair, which is one character
        json.dumps(held, ensure_ascii=False).encode()
    return held


def _json_lines(path: Path) -> Iterator[Values]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _row(_parsed(line), f"{str(path)!r}, line {number},")
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{str(path)!r} is not JSON, line by line ({error}).") from error


def _json(path: Path) -> Iterator[Values]:
    if path.stat().st_size > MAX_JSON:
        raise InputError(f"{str(path)!r} has more than 2 GiB: write it as JSON lines.")
    try:
        held = _parsed(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{str(path)!r} is not JSON ({error}).") from error
    if isinstance(held, dict) and "refs" in held:
        raise InputError(f"{str(path)!r} keeps expressions and boxes apart (`refs`): {JOINED}")
    if isinstance(held, dict) and "annotations" in held and "images" in held:
        yield from _coco(held, path)
        return
    if isinstance(held, dict):
        held = held.get("data", list(held.values()))
    for number, values in enumerate(_listed(held, path), start=1):
        yield _row(values, f"{str(path)!r}, row {number},")


def _coco(held: dict[str, Any], path: Path) -> Iterator[Values]:
    """Annotations joined with their pictures; boxes are left, top, width, height."""
    pictures = {
        picture.get("id"): picture
        for picture in _listed(held["images"], path)
        if isinstance(picture, dict)
    }
    for number, annotation in enumerate(_listed(held["annotations"], path), start=1):
        values = _row(annotation, f"{str(path)!r}, annotation {number},")
        picture = pictures.get(values.get("image_id"))
        if picture is None:
            raise InputError(
                f"{str(path)!r}: annotation {number} belongs to no picture "
                f"({values.get('image_id')!r})."
            )
        yield {"box_format": "xywh", **picture, **values}


def _listed(held: Any, path: Path) -> Iterable[Any]:  # noqa: ANN401
    if not isinstance(held, list):
        raise InputError(f"{str(path)!r} holds no list of rows.")
    return held


def _row(values: Any, place: str) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(values, dict):
        raise InputError(f"{place} is no object with named values.")
    return values
