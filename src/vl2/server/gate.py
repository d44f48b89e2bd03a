"""How many answers may be unfinished at once."""

from __future__ import annotations

import asyncio
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
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._inside = 0
        self._typical_seconds = 1.0
        self._is_open = True
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def inside(self) -> int:
        """Answers that are unfinished."""
        return self._inside

    @property
    def is_open(self) -> bool:
        """Whether anybody is let in at all."""
        return self._is_open

    def close(self) -> None:
        """Let nobody in any more; who is inside may finish."""
        self._is_open = False

    async def wait_until_empty(self) -> None:
        """Wait for the last one inside to leave."""
        await self._empty.wait()

    @contextlib.contextmanager
    def entered(self, answers: int = 1) -> Iterator[None]:
        """Be inside for the length of a `with` block.

        Args:
            answers: how many places are taken.

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
        self._empty.clear()
        start = time.monotonic()
        try:
            yield
        finally:
            self._inside -= answers
            taken = time.monotonic() - start
            self._typical_seconds += (1 - _OLD_SHARE) * (taken - self._typical_seconds)
            if not self._inside:
                self._empty.set()

    def _wait(self) -> int:
        """Whole seconds after which a place should be free: one typical answer's length."""
        return min(max(1, math.ceil(self._typical_seconds)), _LONGEST_WAIT)
