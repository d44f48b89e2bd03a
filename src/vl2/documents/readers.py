"""Who reads: a model on this machine, or one behind an OpenAI-compatible server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import PIL.Image

from vl2.engine.remote import BUSY, ChatServer, ServerError, data_url, text_of
from vl2.engine.sampling import JSON_SPACING
from vl2.engine.sources import EMBEDDED, find_checkpoint
from vl2.errors import InputError, VL2Error
from vl2.processing.tiling import Tiling

if TYPE_CHECKING:
    from vl2.engine import Assistant

VLLM = "vllm"
"""The engine that is vLLM's server; any other server is asked in OpenAI's words alone."""

_REFUSALS = (400, 413, 422)
_WAITS = (1.0, 4.0, 15.0)


class RefusedError(InputError):
    """The model cannot be asked this about this page; asking again would not help."""


class UnopenedReaderError(VL2Error):
    """There is nobody who could read any page: a run ends with this."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a reading took; of some servers 0 stands for not told."""

    prompt_tokens: int = 0
    image_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.image_tokens + other.image_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model wrote about a page.

    Attributes:
        text: as it came, with its tags.
        usage: tokens that it took.
        cut: whether it ended at a limit of tokens.
    """

    text: str
    usage: Usage
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """Who reads, as results show it.

    Attributes:
        engine: `local`, `openai` or `vllm`.
        model: its name.
        dtype: type of its weights; a server does not tell, nor does a model that was not asked.
        fingerprint: of the files of its weights; empty for a server.
    """

    engine: str
    model: str
    dtype: str | None
    fingerprint: str = ""


class Reader(Protocol):
    """Whoever reads pages; asked from several threads at once.

    What one page cannot be asked raises `RefusedError`; anything else (`EngineError`,
    `ServerError`) is no fault of the page, and it is read again another time.
    """

    @property
    def identity(self) -> Identity:
        """Who it is."""
        ...

    @property
    def tiling(self) -> Tiling:
        """How it cuts pictures."""
        ...

    def read(
        self, picture: PIL.Image.Image, prompt: str, max_tokens: int, schema: str | None
    ) -> Reply:
        """Answer greedily about a picture, by a JSON schema if there is one."""
        ...

    def close(self) -> None:
        """End; answers that are waited for fail."""
        ...


class LocalReader:
    """A model on this machine, which answers about many pages in one batch.

    Args:
        identity: its name and the fingerprint of its files.
        assistant: the model.
    """

    def __init__(self, identity: Identity, assistant: Assistant) -> None:
        self._identity, self._assistant = identity, assistant

    @property
    def identity(self) -> Identity:
        """Who it is."""
        return self._identity

    @property
    def tiling(self) -> Tiling:
        """How the model cuts pictures."""
        return self._assistant.processor.tiling

    def read(
        self, picture: PIL.Image.Image, prompt: str, max_tokens: int, schema: str | None
    ) -> Reply:
        """Answer greedily.

        Raises:
            RefusedError: the page and the question do not fit into the context.
            EngineError: this answer failed, or the engine was closed.
        """
        try:
            answer = self._assistant.ask(picture, prompt, max_tokens=max_tokens, json_schema=schema)
        except InputError as error:
            raise RefusedError(str(error)) from error
        usage = answer.usage
        return Reply(
            answer.text,
            Usage(usage.prompt_tokens, usage.image_tokens, usage.completion_tokens),
            answer.finish_reason == "length",
        )

    def close(self) -> None:
        """End the engine."""
        close = getattr(self._assistant.engine, "close", None)
        if close is not None:
            close()


class LazyReader:
    """A reader that is opened when it is asked for the first time.

    Args:
        identity: who it is, as far as that is known before.
        opening: opens it.
    """

    def __init__(self, identity: Identity, opening: Callable[[], Reader]) -> None:
        self._identity, self._opening = identity, opening
        self._lock = threading.Lock()
        self._reader: Reader | None = None
        self._problem: VL2Error | None = None

    @property
    def identity(self) -> Identity:
        """Who it is."""
        return self._identity if self._reader is None else self._reader.identity

    @property
    def tiling(self) -> Tiling:
        """How it cuts pictures.

        Raises:
            UnopenedReaderError: it cannot be opened.
        """
        return self._opened().tiling

    def read(
        self, picture: PIL.Image.Image, prompt: str, max_tokens: int, schema: str | None
    ) -> Reply:
        """Answer greedily.

        Raises:
            UnopenedReaderError: it cannot be opened.
            VL2Error: as of the reader.
        """
        return self._opened().read(picture, prompt, max_tokens, schema)

    def close(self) -> None:
        """End it, if it was opened."""
        if self._reader is not None:
            self._reader.close()

    def _opened(self) -> Reader:
        with self._lock:
            if self._problem is None and self._reader is None:
                try:
                    self._reader = self._opening()
                except VL2Error as error:
                    self._problem = error
            if self._reader is None:
                raise UnopenedReaderError(str(self._problem)) from self._problem
            return self._reader


class RemoteReader:
    """A model behind a server; `engine` says which kind, and all of them are asked alike.

    A busy server is asked again, some seconds later each time.

    Args:
        identity: what the server calls the model.
        server: where it is.
    """

    def __init__(self, identity: Identity, server: ChatServer) -> None:
        self._identity, self._server = identity, server
        self._tiling = tiling_of(identity.model)

    @property
    def identity(self) -> Identity:
        """Who it is."""
        return self._identity

    @property
    def tiling(self) -> Tiling:
        """How the model behind the server cuts pictures."""
        return self._tiling

    def read(
        self, picture: PIL.Image.Image, prompt: str, max_tokens: int, schema: str | None
    ) -> Reply:
        """Answer greedily.

        Raises:
            RefusedError: the server refuses this page (status 400, 413 or 422).
            ServerError: it cannot be reached, is busy, or answers something else.
        """
        url = {"url": data_url(picture)}
        parts = [{"type": "image_url", "image_url": url}, {"type": "text", "text": prompt}]
        body: dict[str, Any] = {
            "model": self._identity.model,
            "messages": [{"role": "user", "content": parts}],
            "temperature": 0,
            "max_tokens": max_tokens,
        }
        if schema is not None:
            form = {"name": "page", "strict": True, "schema": self._spelt(schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        response = self._patiently(body)
        return Reply(
            text_of(response),
            _usage(response.get("usage")),
            response["choices"][0].get("finish_reason") == "length",
        )

    def close(self) -> None:
        """Nothing is held."""

    def _spelt(self, schema: str) -> dict[str, Any]:
        """A schema for this kind of server; vLLM's may say how the JSON is spaced."""
        value = json.loads(schema)
        return {**value, "x-guidance": JSON_SPACING} if self._identity.engine == VLLM else value

    def _patiently(self, body: dict[str, Any]) -> dict[str, Any]:
        for wait in _WAITS:
            answer = self._tried(body)
            if answer is not None:
                return answer
            time.sleep(wait)
        return self._server.complete(body)

    def _tried(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """The answer; None if the server is busy."""
        try:
            return self._server.complete(body)
        except ServerError as error:
            if error.status in _REFUSALS:
                raise RefusedError(str(error)) from error
            if error.status not in BUSY:
                raise
        return None


def tiling_of(model: str) -> Tiling:
    """How a model of this name cuts pictures: the embedded one its own way, all others alike."""
    if model != EMBEDDED:
        return Tiling()
    file = find_checkpoint(EMBEDDED) / "processor_config.json"
    told = json.loads(file.read_text(encoding="utf-8"))
    return Tiling.from_candidates(
        told["candidate_resolutions"], told["patch_size"], told["downsample_ratio"]
    )


def check_schema(assistant: Assistant, schema: str) -> None:
    """Refuse a schema that the engine could not follow, before any page is read.

    Raises:
        InputError: it cannot be followed.
        MissingExtraError: llguidance is not installed.
    """
    blank = PIL.Image.new("RGB", (8, 8))
    request, _ = assistant.prepare("?", [blank], json_schema=schema, max_tokens=1)
    assistant.engine.generate(request).close()


def _usage(told: Any) -> Usage:  # noqa: ANN401 - whatever the server sent
    if not isinstance(told, dict):
        return Usage()
    details = told.get("prompt_tokens_details")
    images = details.get("image_tokens") if isinstance(details, dict) else 0
    counts = (told.get("prompt_tokens"), images, told.get("completion_tokens"))
    return Usage(*(count if isinstance(count, int) else 0 for count in counts))
