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
        self._key, self._timeout = key, timeout

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send a request; returns the whole answer, whose first choice holds a text.

        Raises:
            ServerError: the server cannot be reached, refuses, or answers something else.
        """
        return _checked(self._post(body), self.url)

    def _post(self, body: dict[str, Any]) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(self.url, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                return response.read(MAX_RESPONSE + 1)
        except urllib.error.HTTPError as error:
            said = error.read(2000).decode(errors="replace")
            raise ServerError(
                f"{self.url} answered with {error.code}: {' '.join(said.split())[:300]}",
                error.code,
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise ServerError(
                f"{self.url} cannot be reached ({error}): is the server running?"
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
