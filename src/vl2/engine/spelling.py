"""How devices, types and sizes are written: what can be told before torch is there."""

from __future__ import annotations

import re

from vl2.errors import InputError

DTYPES = ("float32", "bfloat16", "float16")
"""Names of the types that weights may have."""

_DEVICE = re.compile(r"auto|(?:cpu|cuda|mps)(?::(?:0|[1-9][0-9]?))?")
_LONGEST_SIZE = 40
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:([kMGT])(i?))?B?\s*", re.IGNORECASE)


def check_device(text: str) -> None:
    """Refuse what names no device on any machine.

    Raises:
        InputError: it is misspelt.
    """
    if not _DEVICE.fullmatch(text):
        raise InputError(f"Unknown device {text!r}: use auto, cpu, cuda, cuda:N or mps.")


def check_dtype(text: str) -> None:
    """Refuse what names no type of weights.

    Raises:
        InputError: it is misspelt.
    """
    if text not in ("auto", *DTYPES):
        raise InputError(f"Unknown dtype {text!r}: use auto, {', '.join(DTYPES)}.")


def parse_size(text: str) -> int:
    """Bytes of a size such as `8GB` (8e9), `8 GiB` (8 * 2**30) or a plain number.

    Raises:
        InputError: it is no size.
    """
    match = _SIZE.fullmatch(text) if len(text) <= _LONGEST_SIZE else None
    size = 0
    if match is not None:
        number, prefix, binary = match.groups()
        step = 1024 if binary else 1000
        size = int(float(number) * step ** (" kmgt".index((prefix or " ").lower())))
    if size < 1:
        raise InputError(f"{text!r:.60} is no size of memory: write it like 8GB or 7.5GiB.")
    return size
