"""What clients get: OpenAI's answers, with `boxes` beside the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel

from vl2.engine import Usage as Counts
from vl2.grounding import Box as PixelBox

Reason = Literal["stop", "length"]

LOWEST_LOGPROB = -9999.0  # JSON has no infinity


class Box(BaseModel):
    """Something in a picture: left, top, right, bottom in its pixels, as it is shown."""

    label: str
    box: tuple[float, float, float, float]

    @classmethod
    def of(cls, box: PixelBox) -> Box:
        """The same box as the API shows it."""
        return cls.model_validate(box.as_dict())


class PromptDetails(BaseModel):
    """How many tokens of a conversation are places of pictures."""

    image_tokens: int


class Usage(BaseModel):
    """Tokens that a request took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails

    @classmethod
    def of(cls, counts: Sequence[Counts], prompts: int = 1) -> Usage:
        """The sum over the answers of a request.

        Args:
            counts: of each answer.
            prompts: how many prompts they answer; each is counted once, however many answers.
        """
        each = len(counts) // prompts
        prompt = sum(count.prompt_tokens for count in counts[::each])
        completion = sum(count.completion_tokens for count in counts)
        return cls(
            prompt_tokens=prompt,
            completion_tokens=completion,
            total_tokens=prompt + completion,
            prompt_tokens_details=PromptDetails(
                image_tokens=sum(count.image_tokens for count in counts[::each])
            ),
        )


class TopLogprob(BaseModel):
    """A token, its bytes, and the logarithm of its probability."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    """A token of an answer and what might have stood there."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(BaseModel):
    """The tokens of an answer."""

    content: list[TokenLogprob]


class ChatMessage(BaseModel):
    """An answer: exactly what the model wrote, and what it pointed at in the last picture."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    boxes: list[Box]


class ChatChoice(BaseModel):
    """One answer of several."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: Reason


class ChatCompletion(BaseModel):
    """Answers to a conversation."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class ChatDelta(BaseModel):
    """Some more of an answer; `boxes` come with its end."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    boxes: list[Box] | None = None


class ChatChunkChoice(BaseModel):
    """Some more of one answer of several."""

    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None = None
    finish_reason: Reason | None = None


class ChatChunk(BaseModel):
    """Some more of the answers to a conversation."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: Usage | None = None


class TextLogprobs(BaseModel):
    """The tokens of a continuation, in the older layout of `/v1/completions`."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(BaseModel):
    """One continuation of several, or some more of it."""

    index: int
    text: str
    logprobs: TextLogprobs | None = None
    finish_reason: Reason | None = None


class TextCompletion(BaseModel):
    """Continuations of texts."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage | None = None


class Located(BaseModel):
    """Where something is in a picture of this size; without boxes, `text` says what was seen."""

    object: Literal["location"] = "location"
    model: str
    boxes: list[Box]
    text: str
    width: int
    height: int
    usage: Usage


class Model(BaseModel):
    """A model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["vl2"] = "vl2"
    context: int
    device: str
    dtype: str


class Models(BaseModel):
    """The models that are served."""

    object: Literal["list"] = "list"
    data: list[Model]


class Health(BaseModel):
    """Whether the server takes requests."""

    status: Literal["ok", "stopping"]
    model: str
    device: str
    dtype: str
