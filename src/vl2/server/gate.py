"""How many answers may be unfinished at once, and how much memory their pictures may take."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator

from vl2.server.refusals import Refusal

_LONGEST_WAIT = 60
_OLD_SHARE = 0.8


class Gate:
    """Lets requests in while there is room, and tells the others when to come back.

    Args:
        room: answers that may be unfinished at once.
        picture_bytes: memory that their pictures may take together.
    """

    def __init__(self, room: int, picture_bytes: int) -> None:
        self._room = room
        self._inside = 0
        self._picture_room = picture_bytes
        self._picture_bytes = 0
        self._typical_seconds = 1.0
        self._is_open = True

    @property
    def inside(self) -> int:
        """Answers that are unfinished."""
        return self._inside

    @property
    def picture_bytes(self) -> int:
        """Memory that the pictures of unfinished answers take."""
        return self._picture_bytes

    @property
    def is_open(self) -> bool:
        """Whether anybody is let in at all."""
        return self._is_open

    def close(self) -> None:
        """Let nobody in any more; who is inside may finish."""
        self._is_open = False

    @contextlib.contextmanager
    def entered(self, answers: int = 1) -> Iterator[Place]:
        """Be inside for the length of a `with` block.

        Args:
            answers: how many of the places for answers are taken.

        Raises:
            Refusal: there is no room, or the server is about to stop.
        """
        if not self._is_open:
            raise Refusal(
                503, "The server is about to stop: ask another one.", headers={"Retry-After": "30"}
            )
        if answers > self._room:
            raise Refusal(
                400, f"{answers} answers are asked for, and {self._room} may be open at once."
            )
        if self._inside + answers > self._room:
            raise Refusal(
                429,
                f"{self._inside} answers are unfinished, and {self._room} may be: try again later.",
                headers={"Retry-After": str(self._wait())},
            )
        self._inside += answers
        place = Place(self)
        start = time.monotonic()
        try:
            yield place
        finally:
            self._inside -= answers
            self._picture_bytes -= place.picture_bytes
            taken = time.monotonic() - start
            self._typical_seconds += (1 - _OLD_SHARE) * (taken - self._typical_seconds)

    def hold(self, size: int) -> None:
        """Count memory for pictures; `Place.hold` gives it back in time.

        Args:
            size: in bytes.

        Raises:
            Refusal: there is not so much left, or never will be.
        """
        if size > self._picture_room:
            raise Refusal(
                400,
                f"The pictures need {_mib(size)} MiB of memory, and those of all answers may take "
                f"{_mib(self._picture_room)}: send fewer.",
            )
        if self._picture_bytes + size > self._picture_room:
            raise Refusal(
                429,
                f"The pictures of unfinished answers take {_mib(self._picture_bytes)} MiB of "
                f"memory, these need {_mib(size)} more, and {_mib(self._picture_room)} is all that "
                "they may take: try again later.",
                headers={"Retry-After": str(self._wait())},
            )
        self._picture_bytes += size

    def _wait(self) -> int:
        """Whole seconds after which a place should be free: one typical answer's length."""
        return min(max(1, math.ceil(self._typical_seconds)), _LONGEST_WAIT)


class Place:
    """What one request takes up inside.

    Args:
        gate: the gate that it passed.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.picture_bytes = 0

    def hold(self, size: int) -> None:
        """Take memory for pictures until the request leaves; errors as for `Gate.hold`.

        Args:
            size: in bytes.
        """
        self._gate.hold(size)
        self.picture_bytes += size


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f}"
