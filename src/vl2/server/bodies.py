"""What clients send: OpenAI's fields as far as they are honoured, and a few of our own.

A field that is not listed here is refused by name, for an answer that silently leaves out what was
asked for is worse than none. Nothing is converted: `"1"` is not a number.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from vl2.engine.sampling import MAX_BIASED_TOKENS, MAX_STOP_LENGTH, MAX_STOPS, MAX_TOP_LOGPROBS

MAX_ANSWERS = 8
MAX_MESSAGES = 1024
MAX_PARTS = 1024
MAX_TEXT = 2**20
MAX_PROMPTS = 16
MAX_PROMPT_TOKENS = 2**17

Prose: TypeAlias = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
Stop: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=MAX_STOP_LENGTH)]
TokenIds: TypeAlias = Annotated[
    list[Annotated[int, Field(ge=0, lt=2**31)]],
    # Without `fail_fast` each of very many wrong items would make an error.
    Field(min_length=1, max_length=MAX_PROMPT_TOKENS, fail_fast=True),
]


class Body(BaseModel):
    """Strict: no conversions, no unknown fields, no NaN."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class ImageUrl(Body):
    """Where a picture is.

    Attributes:
        url: a `data:` URL, or http(s) to a host that the operator allows.
        detail: `low` cuts it into one tile; `auto` and `high` are the model's own rule.
    """

    url: str
    detail: Literal["auto", "low", "high"] = "auto"


class ImagePart(Body):
    """A picture in a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


class TextPart(Body):
    """A text in a message."""

    type: Literal["text"]
    text: Prose


UserPart: TypeAlias = Annotated[TextPart | ImagePart, Field(discriminator="type")]
Texts: TypeAlias = Annotated[list[TextPart], Field(min_length=1, max_length=MAX_PARTS)]


class SystemMessage(Body):
    """What the model is told before the conversation."""

    role: Literal["system", "developer"]
    content: Prose | Texts


class UserMessage(Body):
    """What the user said and showed."""

    role: Literal["user"]
    content: Prose | Annotated[list[UserPart], Field(min_length=1, max_length=MAX_PARTS)]


class AssistantMessage(Body):
    """An earlier answer as this server gave it; `boxes` follow from the text and may come along."""

    role: Literal["assistant"]
    content: Prose | Texts | None = None
    boxes: Annotated[list[dict[str, Any]], Field(max_length=MAX_PARTS)] | None = None
    refusal: None = None


AnyMessage: TypeAlias = Annotated[
    SystemMessage | UserMessage | AssistantMessage, Field(discriminator="role")
]


class StreamOptions(Body):
    """How an answer is streamed.

    Attributes:
        include_usage: send the counts of tokens in a last chunk.
    """

    include_usage: bool = False


class TextFormat(Body):
    """Any text."""

    type: Literal["text"]


class JsonFormat(Body):
    """Any JSON."""

    type: Literal["json_object"]


class JsonSchema(Body):
    """A JSON Schema, which every answer obeys, whatever `strict` says."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    description: Prose | None = None
    strict: bool | None = None


class SchemaFormat(Body):
    """JSON that obeys a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


Format: TypeAlias = Annotated[TextFormat | JsonFormat | SchemaFormat, Field(discriminator="type")]


class Choosing(Body):
    """How the words of answers are chosen. Null means the default.

    Attributes:
        model: the name of the model that is served.
        temperature: 0 (the default here, unlike OpenAI's 1) takes the likeliest token each time.
        top_p: sample only among the likeliest tokens of this total probability.
        n: answers to the same question.
        seed: the same seed gives the same answer; answer i of several takes seed + i.
        stop: the answer ends before any of these texts.
        frequency_penalty: taken off a token's score once for each time that the answer holds it.
        presence_penalty: taken off a token's score once if the answer holds it.
        logit_bias: token id to what is added to its score.
        max_tokens: length limit of an answer in tokens; what is left of the context limits it too.
        stream: send the answer while it is written, as server-sent events.
        stream_options: how.
        user: who asks, in the client's own words; changes nothing.
        top_k: sample only among so many likeliest tokens (an extension).
        min_p: sample only among tokens of at least this share of the likeliest one's probability
            (an extension).
        repetition_penalty: divides the scores of tokens that were there before (an extension).
    """

    model: str
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_ANSWERS)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: (
        Annotated[
            dict[
                Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}$")],
                Annotated[float, Field(ge=-100, le=100)],
            ],
            Field(max_length=MAX_BIASED_TOKENS, json_schema_extra={"additionalProperties": False}),
        ]
        | None
    ) = None
    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Annotated[str, StringConstraints(max_length=1024)] | None = None
    top_k: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None

    @model_validator(mode="after")
    def _options_need_a_stream(self) -> Choosing:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options needs stream=true: leave one out or add the other.")
        return self


class ChatBody(Choosing):
    """A conversation that asks for an answer.

    Attributes:
        messages: the conversation; its last message is the user's.
        max_completion_tokens: OpenAI's newer name of `max_tokens`.
        logprobs: tell the log-probability of each token of the answer.
        top_logprobs: how many of the likeliest tokens to tell beside each.
        response_format: text, JSON, or JSON that obeys a schema.
        max_tiles: cut a picture into at most so many tiles (an extension): fewer tokens.
    """

    messages: Annotated[list[AnyMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    response_format: Format | None = None
    max_tiles: Annotated[int, Field(ge=1, le=1024)] | None = None

    @model_validator(mode="after")
    def _fields_fit_together(self) -> ChatBody:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs=true: leave one out or add the other.")
        if None not in (self.max_tokens, self.max_completion_tokens):
            raise ValueError("max_tokens and max_completion_tokens are the same: send one of them.")
        return self


class CompletionBody(Choosing):
    """A text that is to be continued.

    Attributes:
        prompt: a text, token ids, or a list of either. Special tokens keep their meaning: the
            prompt is what the model reads, after the token that begins every one.
        logprobs: tell the log-probability of each token and of so many likeliest ones.
    """

    prompt: (
        Prose
        | TokenIds
        | Annotated[list[Prose], Field(min_length=1, max_length=MAX_PROMPTS)]
        | Annotated[list[TokenIds], Field(min_length=1, max_length=MAX_PROMPTS)]
    )
    logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None


class LocateBody(Body):
    """A picture and what to find in it.

    Attributes:
        image: a `data:` URL, or http(s) to a host that the operator allows.
        phrase: what to find, in plain words.
        model: the name of the model that is served; may be left out.
        max_tokens: length limit of the answer in tokens.
        max_tiles: cut the picture into at most so many tiles.
    """

    image: str
    phrase: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    model: str | None = None
    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    max_tiles: Annotated[int, Field(ge=1, le=1024)] | None = None
