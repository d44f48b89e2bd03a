"""Running the server: slow clients are let go, and a signal lets unfinished answers finish."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from vl2.server.answering import Answering
from vl2.server.patience import impatient

_CONNECTIONS = 512
_CLOSING_SECONDS = 2
_PACE = 0.1


def run(app: FastAPI, at: socket.socket, tell: Callable[[str], None] | None = None) -> None:
    """Serve until a signal (SIGTERM, Ctrl-C) comes and the answers that are open then are done.

    Args:
        app: what `vl2.server.app.create_app` made.
        at: where to listen, as `vl2.server.listening.reserve` gives it.
        tell: is told where the server listens, as soon as it does.
    """
    answering: Answering = app.state.answering
    config = uvicorn.Config(
        app,
        http=impatient(answering.settings.header_seconds),
        ws="none",
        log_level="warning",
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_CLOSING_SECONDS,
        server_header=False,
    )
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is a way to stop it, not an accident
        DrainingServer(config, answering, tell).run(sockets=[at])


class DrainingServer(uvicorn.Server):
    """A server that stops in two steps: nobody new is let in, then who is inside may finish.

    Args:
        config: how to serve.
        answering: knows who is inside.
        tell: is told where the server listens, as soon as it does.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        answering: Answering,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(config)
        self._answering = answering
        self._tell = tell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say where."""
        await super().startup(sockets)
        if self._tell is not None and self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            name = f"[{host}]" if ":" in host else host
            self._tell(f"http://{name}:{port}/ is ready; Ctrl-C stops it.")

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
