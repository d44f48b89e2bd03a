"""Between the web and the engine: prompts made off the event loop, answers counted and placed."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import PIL.Image

from vl2 import grounding
from vl2.engine import Assistant, Choice, Delta, Event, Finish, Request, Sampling, Usage
from vl2.engine.requests import AwaitedEvents, FinishReason
from vl2.errors import ContextError, ImageError
from vl2.processing.building import choose_grids
from vl2.server.fetching import fetch
from vl2.server.gate import Gate, Place
from vl2.server.metrics import Metrics
from vl2.server.pictures import decoded, is_web, opened, sizes
from vl2.server.raw import raw_prompt
from vl2.server.refusals import Refusal
from vl2.server.schemas import Schemas
from vl2.server.settings import Settings

_PREPARING_THREADS = 2
_FETCHING_THREADS = 8
_FLOAT_BYTES = 4

Result = TypeVar("Result")


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
        self.gate = Gate(settings.queue, settings.picture_bytes)
        self.metrics = Metrics()
        self.metrics.watch(self.gate, assistant.engine.stats)
        longest = max(map(len, assistant.processor.tokenizer.get_vocab()))
        self._most_characters = longest * assistant.engine.context
        self._preparing = ThreadPoolExecutor(_PREPARING_THREADS, "prepare")
        self._fetching = ThreadPoolExecutor(_FETCHING_THREADS, "fetch")
        self._schemas = Schemas()

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

    async def encoded_pictures(self, urls: Sequence[str], place: Place) -> list[bytes]:
        """The bytes behind addresses of pictures.

        Args:
            urls: the addresses.
            place: where those that are fetched are counted.

        Raises:
            ImageError: an address is of no allowed kind, or gives nothing, or they have more bytes
                together than a body may have.
            Refusal: there are too many.
        """
        self.check_count(len(urls))
        loop = asyncio.get_running_loop()
        left = self.settings.max_body_bytes
        pictures = []
        for url in urls:
            if is_web(url):
                picture = await loop.run_in_executor(self._fetching, fetch, url, self.settings)
                left -= len(picture)
                if left < 0:
                    raise ImageError(
                        "The pictures that were fetched have more than the allowed "
                        f"{self.settings.max_body_bytes} bytes together: ask for fewer."
                    )
                place.hold(len(picture))
            else:
                picture = await self.in_thread(decoded, url)
            pictures.append(picture)
        return pictures

    async def prepare(
        self,
        messages: Sequence[Mapping[str, Any]],
        pictures: Sequence[bytes],
        options: Mapping[str, Any],
        max_tiles: int | None,
        place: Place,
    ) -> Prepared:
        """Make a prompt of a conversation.

        Args:
            messages: in OpenAI's spelling, `{"type": "image"}` in the place of each picture.
            pictures: encoded, in the order of their places.
            options: fields of `Sampling`.
            max_tiles: cut a picture into at most so many tiles.
            place: where the memory of the tiles is counted.

        Raises:
            InputError: what `Assistant.prepare` raises, or a schema that takes too long.
            Refusal: there is no memory for the tiles.
        """
        self.check_length(_texts(messages))
        if "json_schema" in options:
            await self._schemas.check(options["json_schema"])
        # Before anything is decoded: the tiles stay until the answer is finished.
        place.hold(await self.in_thread(self._tile_bytes, pictures, max_tiles))
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

    def _tile_bytes(self, pictures: Sequence[bytes], max_tiles: int | None) -> int:
        """Memory of the tiles of pictures, by what their heads say."""
        tiling = self.assistant.processor.tiling.limited(max_tiles)
        grids = choose_grids(sizes(pictures, self.settings.picture_limits), tiling)
        return sum(grid.n_tiles for grid in grids) * 3 * tiling.tile_size**2 * _FLOAT_BYTES

    def _prepared(
        self,
        messages: Sequence[Mapping[str, Any]],
        pictures: Sequence[bytes],
        options: Mapping[str, Any],
        max_tiles: int | None,
    ) -> Prepared:
        images = opened(pictures, self.settings.picture_limits)
        request, size = self.assistant.prepare(
            _filled(messages, images), max_tiles=max_tiles, **dict(options)
        )
        return Prepared(request, size)

    async def begin(self, prepared: Prepared) -> AsyncGenerator[Event, None]:
        """Hand a prompt to the engine; gives its answer as it grows.

        Closing the events ends the work on the answer.

        Raises:
            VL2Error: the engine does not take the request.
        """
        # The engine reads tiles and constraints at once, which may take long.
        answer = await self.in_thread(
            self.assistant.engine.stream, prepared.request, asyncio.get_running_loop()
        )
        return self._counted(answer)

    async def _counted(self, answer: AwaitedEvents) -> AsyncGenerator[Event, None]:
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
        async with contextlib.aclosing(await self.begin(prepared)) as events:
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
