"""Which addresses of the page's framework are open: those that the page uses, and no others.

The framework has many more, some of which fetch any address of the web that they are given or show
files; and what the page sends may name addresses too, which the framework would fetch. What other
sites let a browser send is refused: it would fill the folder of uploads.
"""

from __future__ import annotations

import asyncio
import json
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vl2.server.guard import replayed
from vl2.server.names import called
from vl2.server.page.uploads import Uploads
from vl2.server.refusals import Refusal

_API = "/gradio_api"
_FILE = f"{_API}/file="
_UPLOAD = f"{_API}/upload"

_OPEN = {
    "GET": {
        "/",
        "/config",
        "/favicon.ico",
        "/logout",
        "/manifest.json",
        "/robots.txt",
        "/theme.css",
        f"{_API}/app_id",
        f"{_API}/queue/data",
        f"{_API}/startup-events",
        f"{_API}/upload_progress",
    },
    "POST": {
        "/login",
        _UPLOAD,
        f"{_API}/cancel",
        f"{_API}/queue/join",
        f"{_API}/reset",
        f"{_API}/run/predict",
    },
}
_OPEN_BELOW = ("/assets/", "/static/", "/svelte/", f"{_API}/heartbeat/")

# How other sites show a link to this one: with pictures of elsewhere.
_PREVIEWS = re.compile(rb'<meta\s[^>]*(?:property|name)="(?:og|twitter):[^>]*>\s*', re.DOTALL)


class Doors:
    """Stands before the page's framework.

    Args:
        app: the framework's application.
        uploads: where uploaded pictures lie.
    """

    def __init__(self, app: ASGIApp, uploads: Uploads) -> None:
        self._app = app
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        if not self._is_open("GET" if method == "HEAD" else method, path):
            await _nothing_there().response(scope, receive, send)
            return
        if method == "POST" and not _is_from_the_page(dict(scope["headers"])):
            await _foreign().response(scope, receive, send)
            return
        if path == _UPLOAD:
            await asyncio.to_thread(self._uploads.prune)
        elif method == "POST":
            body = await _whole(receive)
            if not all(map(self._uploads.holds, _paths(body))):
                await _elsewhere().response(scope, receive, send)
                return
            receive = replayed(body, receive)
        await self._app(scope, receive, _without_previews(send) if path == "/" else send)

    def _is_open(self, method: str, path: str) -> bool:
        if path.startswith(_FILE):
            return method == "GET" and self._uploads.holds(path.removeprefix(_FILE))
        return path in _OPEN.get(method, ()) or (method == "GET" and path.startswith(_OPEN_BELOW))


def _is_from_the_page(headers: dict[bytes, bytes]) -> bool:
    """Whether a browser says that the page sent this; what is no browser says nothing.

    Ports are not compared: a proxy may pass on a host without that by which it is called.
    """
    origin = headers.get(b"origin")
    if origin is None:
        return True
    try:
        host = urllib.parse.urlsplit(origin.decode("latin-1")).netloc
    except ValueError:
        return False
    own = called(headers.get(b"host", b"").decode("latin-1"))
    return own is not None and called(host) == own


def _foreign() -> Refusal:
    return Refusal(403, "Only the page itself may send this: open it at this server's address.")


def _nothing_there() -> Refusal:
    return Refusal(404, "There is nothing at this address: GET /openapi.json lists what there is.")


def _elsewhere() -> Refusal:
    return Refusal(400, "The page may name only files that were uploaded to it.")


async def _whole(receive: Receive) -> bytes:
    """The body, which the guards have limited."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _paths(body: bytes) -> Iterator[str]:
    """Every path of a file that a JSON body names; other bodies name none."""
    try:
        waiting: list[Any] = [json.loads(body)]
    except ValueError:
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            if isinstance(value.get("path"), str) and value["path"]:
                yield value["path"]


def _without_previews(send: Send) -> Send:
    """A `send` that takes out of a page what names other sites."""
    start: Message = {}
    page = bytearray()

    async def cleaned(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
            return
        page.extend(message.get("body", b""))
        if message.get("more_body", False):
            return
        body = _PREVIEWS.sub(b"", bytes(page))
        headers = [(k, v) for k, v in start["headers"] if k.lower() != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        await send({**start, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return cleaned
