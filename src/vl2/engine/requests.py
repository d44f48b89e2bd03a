"""What goes into an engine and what comes out of it."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import asdict, dataclass
from typing import Literal, Protocol, TypeAlias

from vl2 import grounding
from vl2.errors import InputError
from vl2.processing.prompt import Prompt

FinishReason: TypeAlias = Literal["stop", "length"]
"""Why an answer ended: the model ended it, or it reached its limit of tokens."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the words of an answer are chosen.

    Attributes:
        temperature: 0 takes the likeliest token each time; higher values vary more.
        top_p: sample only among the likeliest tokens that together have this probability.
        max_tokens: length limit of the answer in tokens.
        seed: the same seed gives the same answer; without one every answer is drawn anew.

    Raises:
        InputError: a value outside its range.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 512
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 100 or math.isnan(self.temperature):
            raise InputError(f"The temperature must be between 0 and 100, got {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p must be above 0 and at most 1, got {self.top_p}.")
        if self.max_tokens < 1:
            raise InputError(f"max_tokens must be at least 1, got {self.max_tokens}.")
        if self.seed is not None and not 0 <= self.seed < 2**64:
            raise InputError(f"The seed must be from 0 to 2**64 - 1, got {self.seed}.")


@dataclass(frozen=True, slots=True)
class Usage:
    """How many tokens an answer took.

    Attributes:
        prompt_tokens: tokens of the whole conversation, places of pictures included.
        image_tokens: those of them that are places of pictures.
        completion_tokens: tokens of the answer, its end included.
    """

    prompt_tokens: int
    image_tokens: int
    completion_tokens: int

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
    """

    text: str
    boxes: tuple[grounding.Box, ...]
    usage: Usage
    finish_reason: FinishReason = "stop"

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
class Delta:
    """Some more text of an answer; always whole characters."""

    text: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of an answer."""

    reason: FinishReason
    usage: Usage


Event: TypeAlias = Delta | Finish


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

    def generate(self, request: Request) -> Generator[Event, None, None]:
        """Yield the answer as it grows: any number of `Delta`, then one `Finish`.

        Closing the generator early ends the work on the request.
        """
        ...
