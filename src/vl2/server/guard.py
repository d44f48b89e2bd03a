"""What every request passes first: whom it calls, its size, its pace, its shape, its key."""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import time
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vl2.server.names import as_address, called, canonical
from vl2.server.refusals import Refusal
from vl2.server.settings import Settings

MAX_DEPTH = 64
MAX_STRUCTURE = 2**20
"""Bytes of a JSON body outside its texts; parsing multiplies them many times over."""

MAX_FIELDS = 2**15
"""Fields of all objects of a JSON body; each that is unknown makes an error of its own."""

BODIES_HELD = 8
"""How many bodies of the largest size may be in memory at once."""

_LONGEST_NAME = 200
"""Characters of a wrong name that an error repeats."""

# Texts of a JSON body. An unfinished one counts to the end, so that nothing is scanned twice.
_TEXTS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)


def check_shape(body: bytes) -> None:
    """Refuse JSON that would take much time or memory to parse.

    Raises:
        Refusal: it is nested too deep, has too many parts, or is not in UTF-8.
    """
    # Python would read UTF-16 and UTF-32 as well, where what follows sees nothing.
    if not json.detect_encoding(body).startswith("utf-8"):
        raise Refusal(400, "The body is not in UTF-8: send one JSON object in UTF-8.")
    structure = _TEXTS.sub(b"", body)
    if len(structure) > MAX_STRUCTURE:
        raise Refusal(
            400, f"The body has more than {MAX_STRUCTURE} bytes of JSON beside its texts."
        )
    if structure.count(b":") > MAX_FIELDS:
        raise Refusal(400, f"The body has more than {MAX_FIELDS} fields.")
    depth = 0
    for character in structure:
        if character in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise Refusal(400, f"The body is nested deeper than {MAX_DEPTH} levels.")
        elif character in b"]}":
            depth -= 1


class HostGuard:
    """Lets in only requests that call this server by a name of its own.

    A web site can let its name lead to this machine (DNS rebinding); a browser then takes the
    server for that site, and lets its scripts ask and read everything. The head of such a request
    holds the site's name. It never holds an address, so all of them are good for a server that
    listens on every one and may be reached by another than its own (a container).

    Args:
        app: what comes after it.
        settings: where it listens, and how else it is called.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._names = {"localhost", *map(canonical, (settings.host, *settings.hosts))}
        bound = as_address(settings.host)
        self._everywhere = bound is not None and bound.is_unspecified

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            headers = [value for name, value in scope["headers"] if name == b"host"]
            if len(headers) != 1 or not self._is_own(headers[0].decode("latin-1"), scope["server"]):
                await _not_here(headers).response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_own(self, header: str, reached_at: tuple[str, int | None] | None) -> bool:
        host = called(header)
        if host is None or host in self._names:
            return host is not None
        address = as_address(host)
        if address is None:
            return False
        at_it = reached_at is not None and host == canonical(reached_at[0])
        return at_it or self._everywhere or address.is_loopback


def _not_here(headers: list[bytes]) -> Refusal:
    name = ", ".join(header[:_LONGEST_NAME].decode("latin-1") for header in headers)
    return Refusal(
        421,
        f"This server is not called {name!r}: use its address, or let the operator name that host "
        "with --allow-hosts.",
    )


class BodyGuard:
    """Reads bodies before anything else sees them, within limits of size and time.

    Args:
        app: what comes after it.
        settings: the limits.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = bytearray()
        try:
            try:
                await self._read(scope, receive, body)
            except Refusal as refusal:
                await refusal.response(scope, receive, send)
                return
            await self._app(scope, replayed(bytes(body), receive), send)
        finally:
            self._held -= len(body)

    async def _read(self, scope: Scope, receive: Receive, body: bytearray) -> None:
        """Read the whole body into `body`, or refuse it."""
        headers = dict(scope["headers"])
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._settings.max_body_bytes:
            raise self._too_large()
        deadline = time.monotonic() + self._settings.body_seconds
        more = True
        while more:
            try:
                message = await asyncio.wait_for(receive(), deadline - time.monotonic())
            except asyncio.TimeoutError as error:
                raise Refusal(
                    408,
                    f"The body did not arrive within {self._settings.body_seconds:g} seconds.",
                    headers={"Connection": "close"},
                ) from error
            self._keep(message.get("body", b""), body)
            more = message.get("more_body", False)
        if _claims_json(scope):
            await asyncio.to_thread(check_shape, bytes(body))

    def _keep(self, chunk: bytes, body: bytearray) -> None:
        if len(body) + len(chunk) > self._settings.max_body_bytes:
            raise self._too_large()
        if self._held + len(chunk) > BODIES_HELD * self._settings.max_body_bytes:
            raise Refusal(
                429,
                "Too much is being uploaded at once: try again in a few seconds.",
                headers={"Retry-After": "5", "Connection": "close"},
            )
        self._held += len(chunk)
        body += chunk

    def _too_large(self) -> Refusal:
        return Refusal(
            413,
            f"The body has more than the allowed {self._settings.max_body_bytes} bytes: send fewer "
            "or smaller pictures.",
            headers={"Connection": "close"},
        )


def _claims_json(scope: Scope) -> bool:
    """Whether anything after the guard might read a body as JSON."""
    return any(
        name == b"content-type" and b"json" in value.lower() for name, value in scope["headers"]
    )


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that has been read already, then what comes after it."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


class KeyGuard:
    """Asks for the API key at some addresses.

    Args:
        app: what comes after it.
        key: the key.
        prefixes: where addresses begin that need it.
    """

    def __init__(self, app: ASGIApp, key: str, prefixes: Iterable[str]) -> None:
        self._app = app
        self._key = key.encode()
        self._prefixes = tuple(prefixes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        guarded = scope["type"] == "http" and scope["path"].startswith(self._prefixes)
        if guarded and not self._allows(dict(scope["headers"]).get(b"authorization", b"")):
            refusal = Refusal(
                401,
                "The API key is missing or wrong: send it as Authorization: Bearer KEY.",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
            await refusal.response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _allows(self, header: bytes) -> bool:
        scheme, _, key = header.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(key.strip(), self._key)
