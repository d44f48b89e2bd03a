"""No network, held by the interpreter."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from vl2.errors import VL2Error

_VARIABLE = "HF_HUB_OFFLINE"
_LOCAL = {getattr(socket, "AF_UNIX", None)}
_LOOK_UPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")


class OfflineError(VL2Error):
    """Something asked for the network where it is forbidden."""


class _Hook:
    """Asked by the interpreter before each socket; it can be put in only once, and never out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._installed = False
        self.forbidding = 0

    def count(self, step: int) -> None:
        with self._lock:
            self.forbidding += step
            if not self._installed:
                sys.addaudithook(self._refuse)
                self._installed = True

    def _refuse(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.forbidding:
            return
        if event in _LOOK_UPS or (event == "socket.__new__" and arguments[1] not in _LOCAL):
            raise OfflineError(
                "The network was asked for, which is forbidden here: without --offline it would "
                "have been used. Name a model that is on this machine."
            )


_HOOK = _Hook()


@contextmanager
def no_network() -> Iterator[None]:
    """Refuse every socket of the network in all threads of this process.

    The interpreter asks an audit hook before it opens a socket or looks a name up. The library
    that fetches models is told as well, if it has not been imported yet.

    Raises:
        OfflineError: where the network is asked for.
    """
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = "1"
    _HOOK.count(1)
    try:
        yield
    finally:
        _HOOK.count(-1)
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before
