"""Connections whose requests do not come are ended.

uvicorn waits for the first byte of a request, and for the rest of its head, for ever; whoever opens
enough connections and says nothing would keep everybody else out. So would who leaves answers
unread, for a connection that is being closed waits, too, until all that was sent has been read.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


def impatient(seconds: float) -> type[H11Protocol]:
    """A protocol for uvicorn.

    Args:
        seconds: time in which the head of a request must have arrived, and after which a connection
            that is being closed is ended if nothing more of it is read.
    """
    return type("Impatient", (_Impatient,), {"seconds": seconds})


class _Impatient(H11Protocol):
    seconds = 0.0
    _patience: asyncio.TimerHandle | None = None
    _look: asyncio.TimerHandle | None = None
    _unread = 0

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvicorn's signature
        super().connection_made(transport)
        self._wait()
        self._look = self.loop.call_later(self.seconds, self._look_after)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_busy:
            self._stop_waiting()
        elif self._patience is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    @property
    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._patience = self.loop.call_later(self.seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        if not self._is_busy and not self.transport.is_closing():
            self.transport.close()

    def _look_after(self) -> None:
        """End the connection if it has been closing since the last look and nothing was read."""
        before, self._unread = self._unread, 0
        if self.transport.is_closing():
            self._unread = self.transport.get_write_buffer_size()
            if 0 < before <= self._unread:
                self.transport.abort()
        self._look = self.loop.call_later(self.seconds, self._look_after)
