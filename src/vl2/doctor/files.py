"""Files of a checkpoint: are they there, whole, and what was downloaded."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open

from vl2.doctor.findings import AGAIN, Finding, unusable
from vl2.errors import CheckpointError
from vl2.model.loading import weight_files

NEEDED = ("config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json")
OPTIONAL = ("generation_config.json", "special_tokens_map.json")
INDEX = "model.safetensors.index.json"

_DIGEST = re.compile(r"[0-9a-f]{64}")
_BLOCK = 2**22


def check_files(folder: Path) -> list[Finding]:
    """Are all files there, and do the small ones hold JSON?"""
    try:
        weights = weight_files(folder)
    except CheckpointError as error:
        return [unusable("files", error)]
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    missing += [file.name for file in weights if not file.is_file()]
    if missing:
        told = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing."
        return [Finding("files", "wrong", told, AGAIN)]
    there = [*NEEDED, *(name for name in OPTIONAL if (folder / name).exists())]
    broken = [name for name in there if not _is_json(folder / name)]
    if broken:
        told = f"{', '.join(broken)} cannot be read as an object of JSON."
        return [Finding("files", "wrong", told, AGAIN)]
    size = sum(file.stat().st_size for file in weights) / 1e6
    files = len(NEEDED) + len(weights)
    return [
        Finding("files", "fine", f"All {files} are there; the weights take {size:,.1f} MB."),
        *_check_total(folder),
    ]


def check_hashes(folder: Path) -> list[Finding]:
    """Do the weights have the SHA-256 that the hub gave for them?

    The hub's cache names files by it, and a download into a folder notes it beside.
    """
    known = [(file, digest) for file in weight_files(folder) if (digest := _noted(file))]
    if not known:
        told = "Nothing beside the weights says what their hashes should be."
        return [Finding("hashes", "not checked", told)]
    wrong = [file.name for file, digest in known if _sha256(file) != digest]
    if wrong:
        told = f"{', '.join(wrong)} differ from what the hub has."
        return [Finding("hashes", "wrong", told, AGAIN)]
    return [Finding("hashes", "fine", f"{len(known)} files of weights are what the hub has.")]


def open_weights(folder: Path) -> Iterator[tuple[Path, safe_open]]:
    """The files of weights, opened one after the other.

    Raises:
        SafetensorError: one of them is broken.
        OSError: one of them cannot be read.
    """
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as opened:
            yield file, opened


def _check_total(folder: Path) -> list[Finding]:
    """Does the index's total size agree with what the files hold?"""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        stated = int(index["metadata"]["total_size"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return []
    try:
        held = sum(_bytes(opened) for _, opened in open_weights(folder))
    except (SafetensorError, OSError) as error:
        return [Finding("index", "wrong", f"A file of weights is broken: {error}", AGAIN)]
    if held != stated:
        told = f"The index states {stated} bytes of weights, the files hold {held}."
        return [Finding("index", "wrong", told, AGAIN)]
    return [Finding("index", "fine", f"The files hold the {stated} bytes that the index states.")]


def _bytes(opened: safe_open) -> int:
    total = 0
    for name in opened.keys():  # noqa: SIM118 - not a mapping
        part = opened.get_slice(name)
        count = 1
        for length in part.get_shape():
            count *= length
        total += count * _width(part.get_dtype())
    return total


def _width(dtype: str) -> int:
    """Bytes of a number of a type as safetensors names it: `BF16` has 2, `F8_E4M3` 1."""
    bits = re.search(r"\d+", dtype)
    return int(bits[0]) // 8 if bits else 1


def _is_json(file: Path) -> bool:
    try:
        return isinstance(json.loads(file.read_text(encoding="utf-8")), dict)
    except (OSError, ValueError, RecursionError):
        return False


def _noted(file: Path) -> str | None:
    """The hash that the hub gave for a file."""
    name = file.resolve().name
    if file.is_symlink() and _DIGEST.fullmatch(name):
        return name
    beside = file.parent / ".cache" / "huggingface" / "download" / f"{file.name}.metadata"
    try:
        lines = beside.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return None
    return next((line for line in lines if _DIGEST.fullmatch(line)), None)


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
