"""A model behind an OpenAI-compatible server, asked over HTTP; needs no torch."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import PIL.Image

from vl2.errors import InputError, VL2Error

KEY_VARIABLES = ("VL2_API_KEY", "OPENAI_API_KEY")
MAX_RESPONSE = 8 * 2**20
BUSY = (429, 502, 503, 504)
"""Statuses of a server that will answer later."""

_CHECK_SECONDS = 30.0
_MAX_NAMES = 10
_MAX_SAID, _MAX_SENTENCE = 8000, 300
_NOT_ALLOWED = (401, 403)
_NO_KEY = f". Put the key into {' or '.join(KEY_VARIABLES)}."
_WAYS = {
    **dict.fromkeys(_NOT_ALLOWED, _NO_KEY),
    404: ". Does the address end with the version (/v1), and is the model called so there?",
}


class ServerError(VL2Error):
    """A server cannot be reached, refuses, or answers something else than it should.

    Attributes:
        status: of its answer; 0 without one.
    """

    def __init__(self, sentence: str, status: int = 0) -> None:
        super().__init__(sentence)
        self.status = status


class ChatServer:
    """`POST URL/chat/completions`.

    Args:
        url: up to and with its version, e.g. `http://localhost:8000/v1`.
        key: sent as the bearer token, if there is one.
        timeout: seconds to wait for an answer.

    Raises:
        InputError: the URL is none of HTTP.
    """

    def __init__(self, url: str, key: str | None = None, timeout: float = 600.0) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise InputError(
                f"{url!r} is no address of a server: write it like http://localhost:8000/v1."
            )
        self.url = url.rstrip("/") + "/chat/completions"
        self._models = url.rstrip("/") + "/models"
        self._key, self._timeout = key, timeout

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send a request; returns the whole answer, whose first choice holds a text.

        Raises:
            ServerError: the server cannot be reached, refuses, or answers something else.
        """
        return _checked(self._asked(self.url, self._timeout, body), self.url)

    def check(self, model: str) -> None:
        """Find out, before much is asked, whether this is a server that has the model.

        A server that tells no list of its models is asked for one token.

        Raises:
            ServerError: it cannot be reached, refuses, or is no such server. One that is only
                busy passes.
            InputError: it has other models.
        """
        try:
            names = _names(self._asked(self._models, _CHECK_SECONDS))
        except ServerError as error:
            if error.status in (0, *_NOT_ALLOWED):
                raise
            names = []
        if names and model not in names:
            listed = ", ".join(map(repr, names[:_MAX_NAMES]))
            raise InputError(
                f"The server at {self._models} has no model {model!r}: name one that it has with "
                f"--model ({listed})."
            )
        if not names:
            self._try(model)

    def _try(self, model: str) -> None:
        said = [{"role": "user", "content": "Hello"}]
        try:
            self.complete({"model": model, "messages": said, "max_tokens": 1})
        except ServerError as error:
            if error.status not in BUSY:
                raise

    def _asked(self, url: str, timeout: float, body: dict[str, Any] | None = None) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        data = None if body is None else json.dumps(body).encode()
        try:
            request = urllib.request.Request(url, data, headers)
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return response.read(MAX_RESPONSE + 1)
        except urllib.error.HTTPError as error:
            with error:
                said = _said(error.read(_MAX_SAID).decode(errors="replace"))
            way = _WAYS.get(error.code, "")
            raise ServerError(
                f"{url} answered with {error.code}: {said}{way}", error.code
            ) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise ServerError(
                f"{url} cannot be reached ({reason}): is the server running?"
            ) from error


def key_from_environment() -> str | None:
    """The key that the environment holds for servers, if any."""
    return next((os.environ[name] for name in KEY_VARIABLES if os.environ.get(name)), None)


def text_of(response: dict[str, Any]) -> str:
    """The text of an answer that `ChatServer.complete` gave."""
    return response["choices"][0]["message"]["content"]


def data_url(image: PIL.Image.Image) -> str:
    """A picture as a `data:` URL, which loses nothing."""
    held = io.BytesIO()
    image.save(held, "PNG")
    return f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"


def _said(body: str) -> str:
    """What a server says is wrong, without the JSON around it, in one line and shortened."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = body
    for name in ("error", "message", "detail"):
        if isinstance(value, dict):
            value = value.get(name) or value
    said = value if isinstance(value, str) else body
    return " ".join(said.split())[:_MAX_SENTENCE].rstrip(".") or "nothing"


def _names(response: bytes) -> list[str]:
    """Names of the models that a server lists; none where it is no such list."""
    try:
        listed = json.loads(response)["data"]
        return [entry["id"] for entry in listed if isinstance(entry["id"], str)]
    except (ValueError, RecursionError, LookupError, TypeError):
        return []


def _checked(response: bytes, url: str) -> dict[str, Any]:
    try:
        answer = json.loads(response)
        said = answer["choices"][0]["message"]["content"]
    except (ValueError, RecursionError, LookupError, TypeError) as error:
        raise ServerError(
            f"{url} answered {response[:80]!r}, which is no chat completion: is this the address "
            "of an OpenAI-compatible server, with its version (/v1)?"
        ) from error
    if not isinstance(said, str):
        raise ServerError(f"{url} answered with {type(said).__name__} instead of text.")
    return answer
