"""Who answers: a model here, or one behind an OpenAI-compatible server."""

from __future__ import annotations

import base64
import copy
import http.client
import io
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Protocol

import PIL.Image

from vl2.chat import IMAGE_TOKEN, Picture
from vl2.engine import Assistant
from vl2.errors import InputError, VL2Error
from vl2.evals.benchmarks.questions import Question, Task
from vl2.processing.images import open_image
from vl2.processing.tiling import candidate_resolutions

MAX_RESPONSE = 8 * 2**20


class ServerError(VL2Error):
    """A server cannot be reached, refuses, or answers something else than it should."""


class Answerer(Protocol):
    """Whoever answers questions; asked from several threads at once."""

    @property
    def name(self) -> str:
        """Who it is, for reports."""
        ...

    def answer(self, question: Question, task: Task) -> str:
        """Answer greedily; returns the text with its tags."""
        ...


class LocalAnswerer:
    """A model on this machine.

    Args:
        name: of the model.
        assistant: the model.
    """

    def __init__(self, name: str, assistant: Assistant) -> None:
        self._name = name
        self._by_tiles = {9: assistant}
        self._assistant = assistant

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._name

    def answer(self, question: Question, task: Task) -> str:
        """Answer greedily, with the candidate resolutions of the benchmark.

        Raises:
            InputError: a picture is broken, or there are too many for the context.
        """
        assistant, pictures = self._with_tiles(task.max_tiles), list(question.pictures)
        return assistant.ask(pictures, question.prompt, max_tokens=task.max_tokens).text

    def _with_tiles(self, tiles: int) -> Assistant:
        """The same model, with more candidate resolutions where a benchmark wants them."""
        if tiles not in self._by_tiles:
            base = self._assistant.processor
            processor = copy.copy(base)
            wide = candidate_resolutions(base.tiling.tile_size, tiles)
            processor.candidate_resolutions = [list(size) for size in wide]
            self._by_tiles[tiles] = Assistant(self._assistant.engine, processor)
        return self._by_tiles[tiles]


class ServerAnswerer:
    """A model behind `POST URL/chat/completions`.

    The server decides how pictures are cut, so benchmarks with other candidate resolutions are
    run with its own.

    Args:
        url: up to and with its version, e.g. `http://localhost:8000/v1`.
        model: what the server calls the model.
        key: sent as the bearer token, if there is one.
        timeout: seconds to wait for an answer.

    Raises:
        InputError: the URL is none of HTTP.
    """

    def __init__(
        self,
        url: str,
        model: str,
        key: str | None = None,
        timeout: float = 600.0,
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise InputError(
                f"{url!r} is no address of a server: write it like http://localhost:8000/v1."
            )
        self._url = url.rstrip("/") + "/chat/completions"
        self._model, self._key, self._timeout = model, key, timeout

    @property
    def name(self) -> str:
        """Name of the model and where it runs."""
        return f"{self._model} at {self._url}"

    def answer(self, question: Question, task: Task) -> str:
        """Answer greedily.

        Raises:
            ServerError: the server cannot be reached, refuses, or answers something else.
        """
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": _content(question)}],
            "temperature": 0,
            "max_tokens": task.max_tokens,
        }
        return _text(self._post(body), self._url)

    def _post(self, body: dict[str, Any]) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(self._url, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                return response.read(MAX_RESPONSE + 1)
        except urllib.error.HTTPError as error:
            said = error.read(2000).decode(errors="replace")
            raise ServerError(
                f"{self._url} answered with {error.code}: {' '.join(said.split())[:300]}"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise ServerError(
                f"{self._url} cannot be reached ({error}): is the server running?"
            ) from error


def _content(question: Question) -> list[dict[str, Any]]:
    """The content parts of a message: pictures, then the text.

    Where the text says with `<image>` where pictures go, it says so to the server as well.
    """
    pictures = [
        {"type": "image_url", "image_url": {"url": _data_url(picture)}}
        for picture in question.pictures
    ]
    text = question.prompt
    if text.startswith(IMAGE_TOKEN * len(pictures) + "\n"):
        text = text.removeprefix(IMAGE_TOKEN * len(pictures) + "\n")
    return [*pictures, {"type": "text", "text": text}]


def _data_url(picture: Picture) -> str:
    if isinstance(picture, str) and picture.startswith("data:"):
        return picture
    image = picture if isinstance(picture, PIL.Image.Image) else open_image(picture)
    held = io.BytesIO()
    image.save(held, "PNG")
    return f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"


def _text(response: bytes, url: str) -> str:
    try:
        said = json.loads(response)["choices"][0]["message"]["content"]
    except (ValueError, RecursionError, LookupError, TypeError) as error:
        raise ServerError(
            f"{url} answered {response[:80]!r}, which is no chat completion: is this the address "
            "of an OpenAI-compatible server, with its version (/v1)?"
        ) from error
    if not isinstance(said, str):
        raise ServerError(f"{url} answered with {type(said).__name__} instead of text.")
    return said
