"""Where the server listens: a socket, taken before anything slow is loaded."""

from __future__ import annotations

import contextlib
import socket

from vl2.errors import InputError


def reserve(host: str, port: int) -> socket.socket:
    """An address and a port to listen on, taken before the wait for a model.

    Args:
        host: the address.
        port: the port; 0 takes a free one.

    Raises:
        InputError: nothing can listen there.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.ExitStack() as until_bound:
            reserved = until_bound.enter_context(socket.socket(family))
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reserved.bind(address)
            until_bound.pop_all()
    except (OSError, OverflowError, UnicodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(
            f"Nothing can listen on {host} port {port} ({reason}): choose another --port or --host."
        ) from error
    return reserved
