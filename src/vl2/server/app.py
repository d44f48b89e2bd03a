"""The parts of the server put together."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vl2.engine import Assistant
from vl2.server import about, chat, completions, locate, refusals
from vl2.server.answering import Answering
from vl2.server.guard import BodyGuard, HostGuard, KeyGuard
from vl2.server.metrics import Metrics
from vl2.server.settings import Settings

API_VERSION = "1"

_WITH_KEY = ("/v1/", "/metrics")


def create_app(assistant: Assistant, settings: Settings) -> FastAPI:
    """Make the application; `app.state.answering` is what it works with.

    Args:
        assistant: the model that answers.
        settings: who may do what, and how much of it.
    """
    answering = Answering(assistant, settings)
    app = FastAPI(
        title="vl2",
        version=API_VERSION,
        description="DeepSeek-VL2 behind an API in the shape of OpenAI's.",
        docs_url=None,  # both pages would load scripts from elsewhere
        redoc_url=None,
    )
    app.state.answering = answering
    for part in (chat, completions, locate, about):
        app.include_router(part.router(answering))
    refusals.install(app)
    # The last one added is the first one asked.
    app.add_middleware(BodyGuard, settings=settings)
    if settings.api_key is not None:
        app.add_middleware(KeyGuard, key=settings.api_key, prefixes=_WITH_KEY)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
    app.add_middleware(HostGuard, settings=settings)
    app.add_middleware(_Counted, metrics=answering.metrics)
    return app


class _Counted:
    """Counts requests by the route that took them and the status that they got."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "other")
                self._metrics.requests.labels(route, message["status"]).inc()
            await send(message)

        await self._app(scope, receive, counted if scope["type"] == "http" else send)
