"""The page joins the API's application."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI, HTTPException
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vl2.server.answering import Answering
from vl2.server.page.doors import Doors
from vl2.server.page.layout import build
from vl2.server.page.uploads import Uploads
from vl2.server.sending import cancelled

_STYLE = Path(__file__).with_name("style.css")

# The page gets everything from this server: the browser is told to ask nobody else, whatever the
# page's framework or a model's answer may name, and to show the page in no foreign frame.
_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'self'",
    )
)


def mount(app: FastAPI) -> None:
    """Add the page to an application that `vl2.server.app.create_app` made.

    It takes every address that the API leaves: its framework asks for some of its files from the
    root, wherever it is mounted.
    """
    answering: Answering = app.state.answering
    key = answering.settings.api_key

    def knows_the_key(_: str, password: str) -> bool:
        return key is None or hmac.compare_digest(password.encode(), key.encode())

    every = ["GET", "POST", "PUT", "PATCH", "DELETE"]

    @app.api_route("/v1", methods=every, include_in_schema=False)
    @app.api_route("/v1/{rest:path}", methods=every, include_in_schema=False)
    async def nothing(rest: str = "") -> None:
        # Else the page, which takes every address that is left, would answer, and not in JSON.
        raise HTTPException(404, rest)

    app.add_middleware(_Alone)
    uploads = Uploads()
    page = build(answering)
    uploads.keep()
    gr.mount_gradio_app(
        app,
        page,
        "/",
        auth=None if key is None else knows_the_key,
        auth_message="Any name, and the API key as the password.",
        # As styles for the framework they would reach only what stands inside of its own margins.
        head=f"<style>{_STYLE.read_text(encoding='utf-8')}</style>",
        theme=_theme(),
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        max_file_size=answering.settings.max_body_bytes,
        show_error=False,
        app_kwargs={"middleware": [Middleware(Doors, uploads=uploads)]},
    )
    _with_uploads(app, uploads)


def _with_uploads(app: FastAPI, uploads: Uploads) -> None:
    """Keep the folder small while the application runs, and remove it at its end.

    Not at the end of the process: a signal leaves no time for that.
    """
    inner = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(of: FastAPI) -> AsyncIterator[Any]:
        async with inner(of) as state:
            pruning = asyncio.ensure_future(uploads.keep_small())
            try:
                yield state
            finally:
                await cancelled(pruning)
        uploads.remove()

    app.router.lifespan_context = lifespan


def _theme() -> gr.themes.Base:
    """Quiet, and with the fonts that are there: none is fetched."""
    return gr.themes.Soft(
        primary_hue="blue",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )


class _Alone:
    """Adds the policy to every answer; to those of the API it does nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = _POLICY
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
            await send(message)

        await self._app(scope, receive, with_policy if scope["type"] == "http" else send)
