"""Between the web and the engine: prompts made off the event loop, answers counted and placed."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import PIL.Image

from vl2 import grounding
from vl2.chat import as_picture
from vl2.engine import (
    Assistant,
    Choice,
    Delta,
    Engine,
    Event,
    Finish,
    Request,
    Sampling,
    Stats,
    Usage,
)
from vl2.engine.requests import FinishReason
from vl2.errors import ContextError, ImageError
from vl2.processing.images import Limits, open_image
from vl2.server.fetching import fetch
from vl2.server.gate import Gate
from vl2.server.metrics import Metrics
from vl2.server.raw import raw_prompt
from vl2.server.refusals import Refusal
from vl2.server.settings import Settings

_PREPARING_THREADS = 2
_FETCHING_THREADS = 8
_FULL_SIZE_PICTURES = 3
"""The pictures of a request may have as many pixels together as this many of the largest."""

Result = TypeVar("Result")


class AsyncEvents(Protocol):
    """The events of one answer, awaited; closing or forgetting them ends the work on it."""

    def __aiter__(self) -> AsyncIterator[Event]: ...

    async def aclose(self) -> None:
        """End the work on the answer."""
        ...


class StreamingEngine(Engine, Protocol):
    """An engine that many coroutines may ask at once."""

    def stream(self, request: Request) -> AsyncEvents:
        """Queue a request; what it cannot take is raised here."""
        ...

    def stats(self) -> Stats:
        """What there is to do and was done."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prompt that is ready, and the size of the picture that its answer's boxes are in."""

    request: Request
    size: tuple[int, int] | None

    def boxes(self, text: str) -> list[grounding.Box]:
        """What an answer points at, in pixels of the last picture."""
        return grounding.parse(text, *self.size) if self.size else []

    def varied(self, index: int) -> Prepared:
        """The same question with the seed of its answer `index`."""
        seed = self.request.sampling.seed
        if seed is None:
            return self
        sampling = dataclasses.replace(self.request.sampling, seed=(seed + index) % 2**64)
        return dataclasses.replace(self, request=Request(self.request.prompt, sampling))


@dataclass(frozen=True, slots=True)
class Whole:
    """An answer that is finished."""

    text: str
    boxes: list[grounding.Box]
    choices: list[Choice]
    reason: FinishReason
    usage: Usage


class Answering:
    """What the routes and the page ask.

    Args:
        assistant: the model.
        settings: the operator's choices.
    """

    def __init__(self, assistant: Assistant, settings: Settings) -> None:
        self.assistant = assistant
        self.settings = settings
        self.gate = Gate(settings.queue)
        self.metrics = Metrics()
        self._engine = cast("StreamingEngine", assistant.engine)
        self.metrics.watch(lambda: self.gate.inside, self._engine.stats)
        longest = max(map(len, assistant.processor.tokenizer.get_vocab()))
        self._most_characters = longest * assistant.engine.context
        self._preparing = ThreadPoolExecutor(_PREPARING_THREADS, "prepare")
        self._fetching = ThreadPoolExecutor(_FETCHING_THREADS, "fetch")

    def check_model(self, name: str | None) -> None:
        """Refuse a request for another model.

        Raises:
            Refusal: its name is not the one that is served.
        """
        if name is not None and name != self.settings.model:
            raise Refusal(
                404,
                f"The model {name[:100]!r} is not served here: ask for {self.settings.model!r}.",
                param="model",
                code="model_not_found",
            )

    def check_count(self, pictures: int) -> None:
        """Refuse a conversation with too many pictures, before any of them is looked at.

        Raises:
            Refusal: there are more than the operator allows.
        """
        if pictures > self.settings.max_images:
            raise Refusal(
                400,
                f"The conversation has {pictures} pictures, more than the allowed "
                f"{self.settings.max_images}: send fewer.",
            )

    def check_length(self, texts: Iterable[str]) -> None:
        """Refuse texts that no context holds before they are cut into tokens, which takes long.

        Raises:
            ContextError: they are too long even if all tokens were the longest one.
        """
        characters = sum(map(len, texts))
        if characters > self._most_characters:
            raise ContextError(
                f"The text has {characters} characters, more than {self.assistant.engine.context} "
                "tokens, all that the context holds, can stand for: shorten it."
            )

    async def in_thread(self, function: Callable[..., Result], *arguments: Any) -> Result:  # noqa: ANN401
        """Do what takes long outside of the event loop, few at a time: pictures take memory."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._preparing, function, *arguments)

    async def encoded_pictures(self, urls: Sequence[str]) -> list[bytes]:
        """The bytes behind addresses of pictures.

        Raises:
            ImageError: an address is of no allowed kind, or gives nothing.
            Refusal: there are too many.
        """
        self.check_count(len(urls))
        loop = asyncio.get_running_loop()
        return [
            await loop.run_in_executor(self._fetching, _encoded, url, self.settings) for url in urls
        ]

    async def prepare(
        self,
        messages: Sequence[Mapping[str, Any]],
        pictures: Sequence[bytes],
        options: Mapping[str, Any],
        max_tiles: int | None = None,
    ) -> Prepared:
        """Make a prompt of a conversation.

        Args:
            messages: in OpenAI's spelling, `{"type": "image"}` in the place of each picture.
            pictures: encoded, in the order of their places.
            options: fields of `Sampling`.
            max_tiles: cut a picture into at most so many tiles.

        Raises:
            InputError: what `Assistant.prepare` raises.
        """
        self.check_length(_texts(messages))
        return await self.in_thread(self._prepared, messages, pictures, options, max_tiles)

    async def prepare_text(self, text: str | Sequence[int], options: Mapping[str, Any]) -> Prepared:
        """Make a prompt of a text that is to be continued as it stands.

        Args:
            text: in which special tokens keep their meaning, or token ids.
            options: fields of `Sampling`.

        Raises:
            InputError: too long, or ids that are none, or a place of a picture.
        """
        if isinstance(text, str):
            self.check_length([text])
        sampling = Sampling(**dict(options))
        prompt = await self.in_thread(raw_prompt, text, self.assistant)
        return Prepared(Request(prompt, sampling), None)

    def _prepared(
        self,
        messages: Sequence[Mapping[str, Any]],
        pictures: Sequence[bytes],
        options: Mapping[str, Any],
        max_tiles: int | None,
    ) -> Prepared:
        opened = _all_opened(pictures, self.settings.picture_limits)
        request, size = self.assistant.prepare(
            _filled(messages, opened), max_tiles=max_tiles, **dict(options)
        )
        return Prepared(request, size)

    def begin(self, prepared: Prepared) -> AsyncGenerator[Event, None]:
        """Hand a prompt to the engine; gives its answer as it grows.

        Closing the events ends the work on the answer.

        Raises:
            VL2Error: the engine does not take the request.
        """
        return self._counted(self._engine.stream(prepared.request))

    async def _counted(self, answer: AsyncEvents) -> AsyncGenerator[Event, None]:
        start = first = time.monotonic()
        begun = finished = False
        try:
            async with contextlib.aclosing(answer) as events:
                async for event in events:
                    if not begun:
                        begun, first = True, time.monotonic()
                        self.metrics.first_token.observe(first - start)
                    if isinstance(event, Finish):
                        finished = True
                        self._count(event.usage, start, first)
                    yield event
        finally:
            if not finished:
                self.metrics.abandoned.inc()

    async def whole(self, prepared: Prepared) -> Whole:
        """An answer when it is finished."""
        text, choices = "", []
        async with contextlib.aclosing(self.begin(prepared)) as events:
            async for event in events:
                if isinstance(event, Delta):
                    text += event.text
                    choices += event.choices
                else:
                    boxes = prepared.boxes(text)
                    return Whole(text, boxes, choices, event.reason, event.usage)
        raise RuntimeError("The engine ended an answer without saying why.")

    def _count(self, usage: Usage, start: float, first: float) -> None:
        now = time.monotonic()
        self.metrics.prompt_tokens.inc(usage.prompt_tokens)
        self.metrics.image_tokens.inc(usage.image_tokens)
        self.metrics.completion_tokens.inc(usage.completion_tokens)
        self.metrics.duration.observe(now - start)
        if now > first:
            self.metrics.speed.observe(usage.completion_tokens / (now - first))


def _encoded(url: str, settings: Settings) -> bytes:
    """The bytes behind one address; never those of a file on this machine."""
    scheme = url[:8].lower()
    if scheme.startswith("data:"):
        picture = as_picture(url)
        assert isinstance(picture, bytes)
        return picture
    if scheme.startswith(("http://", "https://")):
        return fetch(url, settings)
    raise ImageError("A picture must be a data: URL with its bytes, or an http(s) address.")


def _all_opened(pictures: Sequence[bytes], limits: Limits) -> list[PIL.Image.Image]:
    """The pictures of a request.

    Raises:
        ImageError: one of them cannot be opened, or they are too large together.
    """
    opened: list[PIL.Image.Image] = []
    allowed = _FULL_SIZE_PICTURES * limits.max_pixels
    for number, picture in enumerate(pictures, start=1):
        which = f"Picture {number} of {len(pictures)}: " if len(pictures) > 1 else ""
        opened.append(_opened(picture, which, limits))
        allowed -= opened[-1].width * opened[-1].height
        if allowed < 0:
            raise ImageError(
                f"The first {number} pictures have together more than "
                f"{_FULL_SIZE_PICTURES * limits.max_pixels} pixels: send fewer, or smaller ones."
            )
    return opened


def _opened(encoded: bytes, which: str, limits: Limits) -> PIL.Image.Image:
    """A picture; an error says which one it was."""
    try:
        return open_image(encoded, limits=limits)
    except ImageError as error:
        raise ImageError(f"{which}{error}") from error


def _texts(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What is written in messages."""
    for message in messages:
        if isinstance(message["content"], str):
            yield message["content"]
        else:
            yield from (part["text"] for part in message["content"] if part["type"] == "text")


def _filled(
    messages: Sequence[Mapping[str, Any]], pictures: Sequence[PIL.Image.Image]
) -> list[dict[str, Any]]:
    """The messages with each picture in its place."""
    waiting = iter(pictures)
    return [
        {
            **message,
            "content": message["content"]
            if isinstance(message["content"], str)
            else [
                {**part, "image": next(waiting)} if part["type"] == "image" else part
                for part in message["content"]
            ],
        }
        for message in messages
    ]
