"""How many pages may wait as pictures."""

from __future__ import annotations

import threading

from vl2.errors import EngineError


class Room:
    """Holds so many pages of so many pixels together; whoever comes then waits.

    Args:
        pages: at once.
        pixels: of all of them; a page of more is let in when the room is empty.
    """

    def __init__(self, pages: int, pixels: int) -> None:
        self._pages, self._pixels = pages, pixels
        self._inside, self._held = 0, 0
        self._changed = threading.Condition()
        self._closed = False

    def enter(self, pixels: int) -> None:
        """Wait until there is room.

        Raises:
            EngineError: the room has been closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._fits(pixels))
            if self._closed:
                raise EngineError("The work was ended before this page was read.")
            self._inside += 1
            self._held += pixels

    def leave(self, pixels: int) -> None:
        """Give it back."""
        with self._changed:
            self._inside -= 1
            self._held -= pixels
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody in any more; those who wait are sent away."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _fits(self, pixels: int) -> bool:
        if self._inside == 0:
            return True
        return self._inside < self._pages and self._held + pixels <= self._pixels
