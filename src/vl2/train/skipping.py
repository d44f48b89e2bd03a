"""Rows that cannot be learnt from: counted, named, and too many are the end of a run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vl2.errors import InputError
from vl2.train.ranks import everyones, is_first

SKIPPED_NAME = "skipped.txt"
_SHOWN = 10


class SkippedRows:
    """The rows that a run has skipped, each once, in memory and in the run's folder.

    Args:
        folder: of the run; what an earlier start wrote there counts.
        limit: how many may be skipped.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._file = folder / SKIPPED_NAME
        self._limit = limit
        known = self._file.read_text(encoding="utf-8").splitlines() if self._file.is_file() else []
        self._reasons = dict.fromkeys(known)
        self._new: list[str] = []

    def __len__(self) -> int:
        return len(self._reasons)

    def add(self, reasons: Iterable[str]) -> None:
        """Note rows, as `NAME: REASON`."""
        self._new += reasons

    def settle(self) -> None:
        """Count the rows noted by all processes, and write down those that are new.

        Every process calls this at the same time, and all stop together.

        Raises:
            InputError: they are more than the limit.
        """
        noted = dict.fromkeys(reason for found in everyones(self._new) for reason in found)
        self._new = []
        new = [reason for reason in noted if reason not in self._reasons]
        if not new:
            return
        self._reasons.update(dict.fromkeys(new))
        if is_first():
            with self._file.open("a", encoding="utf-8") as file:
                file.writelines(f"{reason}\n" for reason in new)
        if len(self) > self._limit:
            shown = "; ".join(list(self._reasons)[:_SHOWN])
            raise InputError(
                f"{len(self)} rows cannot be used for training, and max_skipped is {self._limit}. "
                f"All are listed in {self._file}; the first: {shown}"
            )
