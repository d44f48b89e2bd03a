"""No network, held by the interpreter."""

from __future__ import annotations

import os
import socket
import sys

from vl2.errors import VL2Error

_LOCAL = {getattr(socket, "AF_UNIX", None)}
_LOOK_UPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")


class OfflineError(VL2Error):
    """Something asked for the network where it is forbidden."""


def forbid_network() -> None:
    """Refuse every socket of the network for the rest of this process.

    The interpreter asks an audit hook, which cannot be taken back, before it opens a socket or
    looks a name up. Libraries that are told by their variables to stay offline are told so.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if event in _LOOK_UPS or (event == "socket.__new__" and arguments[1] not in _LOCAL):
        raise OfflineError(
            "The network was asked for, which --offline forbids: name a model that is on this "
            "machine."
        )
