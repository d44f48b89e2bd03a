"""What goes into an engine and what comes out of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from typing import Literal, Protocol, TypeAlias

from vl2 import grounding
from vl2.engine.sampling import Sampling
from vl2.engine.stats import Stats
from vl2.processing.prompt import Prompt

FinishReason: TypeAlias = Literal["stop", "length"]
"""Why an answer ended: the model ended it, or it reached its limit of tokens."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How many tokens an answer took.

    Attributes:
        prompt_tokens: tokens of the whole conversation, places of pictures included.
        image_tokens: those of them that are places of pictures.
        completion_tokens: tokens of the answer, its end included.
        cached_tokens: those of the prompt that were known from an earlier request.
    """

    prompt_tokens: int
    image_tokens: int
    completion_tokens: int
    cached_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Tokens of conversation and answer together."""
        return self.prompt_tokens + self.completion_tokens

    def as_dict(self) -> dict[str, int]:
        """The counts as JSON shows them."""
        return {**asdict(self), "total_tokens": self.total_tokens}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said.

    Attributes:
        text: exactly what the model wrote, with its grounding tags, as it belongs into the next
            turn of a conversation.
        boxes: what it pointed at, in pixels of the conversation's last picture (as it is shown,
            after its EXIF orientation). Of several pictures the model means the last one, as in
            the original's demo.
        usage: tokens that it took.
        finish_reason: `"length"` if the text was cut at a limit of tokens.
        choices: its tokens with their log-probabilities, if `Sampling.logprobs` asked for them.
    """

    text: str
    boxes: tuple[grounding.Box, ...]
    usage: Usage
    finish_reason: FinishReason = "stop"
    choices: tuple[Choice, ...] = ()

    @property
    def readable(self) -> str:
        """The text without tags and coordinates."""
        return grounding.strip(self.text)

    def as_dict(self) -> dict[str, object]:
        """The answer as `--json` prints it."""
        return {
            "text": self.text,
            "boxes": [box.as_dict() for box in self.boxes],
            "usage": self.usage.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to be answered."""

    prompt: Prompt
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token, how it is written and how likely it was.

    Attributes:
        id: its id.
        text: what it stands for, alone; part of a character shows as U+FFFD.
        data: its bytes.
        logprob: natural logarithm of its probability under the model, before any setting of
            `Sampling`.
    """

    id: int
    text: str
    data: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class Choice:
    """A token of an answer and what the model might have said instead.

    Attributes:
        chosen: the token that was taken.
        top: the likeliest ones, likeliest first, as many as `Sampling.top_logprobs`.
    """

    chosen: Candidate
    top: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """Some more text of an answer; always whole characters.

    Attributes:
        text: the text; empty only if `choices` is not.
        choices: with `Sampling.logprobs` the tokens since the last delta. Text that may become a
            stop text is held back, so a token may come with a later delta than its first letter.
    """

    text: str
    choices: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of an answer."""

    reason: FinishReason
    usage: Usage


Event: TypeAlias = Delta | Finish


class Events(Protocol):
    """The events of one answer; closing or forgetting them ends the work on it."""

    def __iter__(self) -> Iterator[Event]: ...

    def __next__(self) -> Event: ...

    def close(self) -> None:
        """End the work on the answer."""
        ...


class AwaitedEvents(Protocol):
    """The events of one answer, awaited; closing or forgetting them ends the work on it."""

    def __aiter__(self) -> AsyncIterator[Event]: ...

    async def aclose(self) -> None:
        """End the work on the answer."""
        ...


class Engine(Protocol):
    """Whatever answers requests."""

    @property
    def context(self) -> int:
        """Tokens that a conversation and its answer may have together."""
        ...

    @property
    def device(self) -> str:
        """Where it computes, e.g. `cpu` or `cuda:0`."""
        ...

    @property
    def dtype(self) -> str:
        """The type of the weights, e.g. `bfloat16`."""
        ...

    def generate(self, request: Request) -> Events:
        """Begin an answer; the events are any number of `Delta`, then one `Finish`."""
        ...

    def stream(
        self, request: Request, loop: asyncio.AbstractEventLoop | None = None
    ) -> AwaitedEvents:
        """As `generate`, for coroutines of `loop`, by default the one that runs here."""
        ...

    def stats(self) -> Stats:
        """What there is to do and was done."""
        ...
