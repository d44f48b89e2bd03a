"""Who answers: a model here, or one behind an OpenAI-compatible server."""

from __future__ import annotations

import copy
from typing import Any, Protocol

import PIL.Image

from vl2.chat import Picture
from vl2.engine import Assistant
from vl2.engine.remote import ChatServer, data_url, text_of
from vl2.evals.benchmarks.questions import Question, Task
from vl2.processing.images import open_image
from vl2.processing.tiling import candidate_resolutions


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
        self._server = ChatServer(url, key, timeout)
        self._model = model

    @property
    def name(self) -> str:
        """Name of the model and where it runs."""
        return f"{self._model} at {self._server.url}"

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
        return text_of(self._server.complete(body))


def _content(question: Question) -> list[dict[str, Any]]:
    """The content parts of a message: pictures, then the prompt as a model here gets it.

    Where the prompt says with `<image>` where pictures go, those who follow our rules for
    conversations put them there and nothing between them.
    """
    pictures = [
        {"type": "image_url", "image_url": {"url": _url_of(picture)}}
        for picture in question.pictures
    ]
    return [*pictures, {"type": "text", "text": question.prompt}]


def _url_of(picture: Picture) -> str:
    if isinstance(picture, str) and picture.startswith("data:"):
        return picture
    return data_url(picture if isinstance(picture, PIL.Image.Image) else open_image(picture))
