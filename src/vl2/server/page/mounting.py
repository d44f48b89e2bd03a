"""The page joins the API's application."""

from __future__ import annotations

import hmac
from pathlib import Path

import gradio as gr
from fastapi import FastAPI, HTTPException
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vl2.server.answering import Answering
from vl2.server.page.layout import build

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
    gr.mount_gradio_app(
        app,
        build(answering),
        "/",
        auth=None if key is None else knows_the_key,
        auth_message="Any name, and the API key as the password.",
        css_paths=[_STYLE],
        theme=_theme(),
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        max_file_size=answering.settings.max_body_bytes,
        show_error=False,
    )


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
