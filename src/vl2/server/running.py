"""Running the server: slow clients are let go, and a signal lets unfinished answers finish."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from vl2.errors import InputError
from vl2.server.answering import Answering
from vl2.server.patience import impatient

_CONNECTIONS = 512
_CLOSING_SECONDS = 2
_PACE = 0.1


def run(app: FastAPI, host: str, port: int, tell: Callable[[str], None] | None = None) -> None:
    """Serve until a signal (SIGTERM, Ctrl-C) comes and the answers that are open then are done.

    Args:
        app: what `vl2.server.app.create_app` made.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        tell: is told where the server listens.

    Raises:
        InputError: nothing can listen there.
    """
    answering: Answering = app.state.answering
    listening = _listening(host, port)
    config = uvicorn.Config(
        app,
        http=impatient(answering.settings.header_seconds),
        ws="none",
        log_level="warning",
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_CLOSING_SECONDS,
        server_header=False,
    )
    if tell is not None:
        name = f"[{host}]" if ":" in host else host
        tell(f"http://{name}:{listening.getsockname()[1]}/ is ready; Ctrl-C stops it.")
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is a way to stop it, not an accident
        DrainingServer(config, answering).run(sockets=[listening])


class DrainingServer(uvicorn.Server):
    """A server that stops in two steps: nobody new is let in, then who is inside may finish.

    Args:
        config: how to serve.
        answering: knows who is inside.
    """

    def __init__(self, config: uvicorn.Config, answering: Answering) -> None:
        super().__init__(config)
        self._answering = answering

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, wait for open answers, then close what is left."""
        gate = self._answering.gate
        gate.close()
        for server in self.servers:
            server.close()
        left = self._answering.settings.drain_seconds
        while gate.inside and left > 0 and not self.force_exit:
            await asyncio.sleep(_PACE)
            left -= _PACE
        await super().shutdown(sockets)


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:
        raise InputError(
            f"Nothing can listen on {host} port {port} ({error}): choose another --port or --host."
        ) from error
    return listening
