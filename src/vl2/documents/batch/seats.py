"""Which worker takes the next document."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from vl2.errors import EngineError

_SUSPECTS_SEAT = 0


class Seats:
    """Deals documents to workers: each holds so many at once, the one with the fewest takes more.

    A document that was held when a worker died may be the reason for it. Such suspects are read one
    at a time, alone, by the first worker; so no other document is lost with a second one.

    Args:
        workers: how many.
        each: documents that a worker holds at once.
    """

    def __init__(self, workers: int, each: int) -> None:
        self._held, self._each = [0] * workers, each
        self._suspects = 0
        self._changed = threading.Condition()
        self._closed = False

    @contextlib.contextmanager
    def taken(self, *, alone: bool) -> Iterator[int]:
        """Wait for a place; gives the number of its worker.

        Raises:
            EngineError: the seats have been closed.
        """
        weight = self._each if alone else 1
        seat = self._enter(weight, alone)
        try:
            yield seat
        finally:
            with self._changed:
                self._held[seat] -= weight
                self._suspects -= alone
                self._changed.notify_all()

    def close(self) -> None:
        """Send away those who wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _enter(self, weight: int, alone: bool) -> int:
        with self._changed:
            self._suspects += alone
            self._changed.wait_for(lambda: self._closed or self._free(alone) is not None)
            seat = self._free(alone)
            if self._closed or seat is None:
                self._suspects -= alone
                raise EngineError("The work was ended before this document was read.")
            self._held[seat] += weight
            return seat

    def _free(self, alone: bool) -> int | None:
        if alone:
            return None if self._held[_SUSPECTS_SEAT] else _SUSPECTS_SEAT
        open_seats = [
            seat
            for seat, held in enumerate(self._held)
            if held < self._each and not (self._suspects and seat == _SUSPECTS_SEAT)
        ]
        return min(open_seats, key=lambda seat: self._held[seat], default=None)
