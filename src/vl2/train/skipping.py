"""Rows that cannot be learnt from: counted, named, and too many are the end of a run."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

from vl2.errors import InputError
from vl2.train.ranks import everyones, is_first

SKIPPED_NAME = "skipped.txt"
_SHOWN = 10


class SkippedRows:
    """The rows that a run has skipped, each once, in memory and in the run's folder.

    Args:
        folder: of the run; what an earlier start wrote there counts, until `begin` says otherwise.
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

    @property
    def reasons(self) -> tuple[str, ...]:
        """The rows, as `NAME: REASON`."""
        return tuple(self._reasons)

    def add(self, reasons: Iterable[str]) -> None:
        """Note rows, as `NAME: REASON`."""
        self._new += reasons

    def begin(self, reasons: Iterable[str]) -> None:
        """Begin the list anew when a run starts or goes on: its rows may have been mended since.

        Every process calls this at the same time, and all stop together.

        Args:
            reasons: what cannot be used now, as `NAME: REASON`; it is enough if one process knows.

        Raises:
            InputError: they are more than the limit.
        """
        self._reasons = _together(reasons)
        if is_first() and (self._reasons or self._file.is_file()):
            whole = self._file.with_suffix(".part")
            whole.write_text(_lines(self._reasons), encoding="utf-8")
            whole.replace(self._file)
        self._check()

    def settle(self) -> None:
        """Count the rows noted by all processes, and write down those that are new.

        Every process calls this at the same time, and all stop together.

        Raises:
            InputError: they are more than the limit.
        """
        noted = _together(self._new)
        self._new = []
        new = [reason for reason in noted if reason not in self._reasons]
        self._reasons.update(dict.fromkeys(new))
        if new and is_first():
            with self._file.open("a", encoding="utf-8") as file:
                file.write(_lines(new))
        self._check()

    def _check(self) -> None:
        if len(self) > self._limit:
            shown = "; ".join(list(self._reasons)[:_SHOWN])
            raise InputError(
                f"{len(self)} rows cannot be used for training, and max_skipped is {self._limit}. "
                "Mend or remove them and give the same command again, or allow more with "
                f"--set max_skipped={len(self)}. All are listed in {self._file}; the first: {shown}"
            )


def numbers_named(reasons: Iterable[str], names: Iterable[tuple[int, str]]) -> list[int]:
    """Which rows are meant by reasons of the form `NAME: REASON`.

    Args:
        reasons: where a name ends in them cannot be seen: it may have colons in it.
        names: numbers of rows with their names.
    """
    parts = [reason.split(": ") for reason in reasons]
    begun = {": ".join(some[:end]) for some in parts for end in range(1, len(some))}
    return [number for number, name in names if name in begun]


def _together(reasons: Iterable[str]) -> dict[str, None]:
    """What all processes hand in, each reason once, in the order of the ranks."""
    return dict.fromkeys(itertools.chain.from_iterable(everyones(list(reasons))))


def _lines(reasons: Iterable[str]) -> str:
    return "".join(f"{reason}\n" for reason in reasons)
