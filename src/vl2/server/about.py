"""What a server says about itself: `/v1/models`, `/health`, `/metrics`."""

from __future__ import annotations

import time

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from vl2.server import replies
from vl2.server.answering import Answering
from vl2.server.documented import ERRORS

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def router(answering: Answering) -> APIRouter:
    """The routes, for one model."""
    routes = APIRouter()
    assistant, settings = answering.assistant, answering.settings
    model = replies.Model(
        id=settings.model,
        created=int(time.time()),
        context=assistant.engine.context,
        device=assistant.device,
        dtype=assistant.dtype,
    )

    @routes.get("/v1/models", responses=ERRORS, tags=["OpenAI"])
    async def models() -> replies.Models:
        """Which models are served: one."""
        return replies.Models(data=[model])

    @routes.get("/v1/models/{name:path}", responses=ERRORS, tags=["OpenAI"])
    async def one_model(name: str) -> replies.Model:
        """The model of this name."""
        answering.check_model(name)
        return model

    @routes.get(
        "/health",
        response_model=replies.Health,
        responses={503: {"model": replies.Health, "description": "It is about to stop."}},
        tags=["Operation"],
    )
    async def health() -> Response:
        """Whether the server takes requests."""
        is_open = answering.gate.is_open
        health = replies.Health(
            status="ok" if is_open else "stopping",
            model=settings.model,
            device=assistant.device,
            dtype=assistant.dtype,
        )
        return JSONResponse(health.model_dump(), 200 if is_open else 503)

    @routes.get(
        "/metrics",
        response_class=PlainTextResponse,
        responses={401: ERRORS[401]},
        tags=["Operation"],
    )
    async def metrics() -> Response:
        """What the server counts, in Prometheus's text format."""
        return Response(answering.metrics.text(), media_type=_PROMETHEUS)

    return routes
