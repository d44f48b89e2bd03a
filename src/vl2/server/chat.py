"""`POST /v1/chat/completions`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from vl2.engine import Candidate, Choice, Delta, Finish
from vl2.server import replies
from vl2.server.answering import Answering, Prepared, Whole
from vl2.server.bodies import (
    AnyMessage,
    AssistantMessage,
    ChatBody,
    Choosing,
    ImagePart,
    JsonFormat,
    SchemaFormat,
    TextPart,
)
from vl2.server.documented import ERRORS, either
from vl2.server.refusals import Refusal
from vl2.server.replying import Reply, respond
from vl2.server.sending import while_connected


def router(answering: Answering) -> APIRouter:
    """The route, for one model."""
    routes = APIRouter(tags=["OpenAI"])

    @routes.post(
        "/v1/chat/completions",
        response_model=replies.ChatCompletion,
        responses={**ERRORS, **either(replies.ChatCompletion)},
    )
    async def chat_completions(body: ChatBody, request: Request) -> Response:
        """Answer the last question of a conversation."""
        answering.check_model(body.model)
        messages, urls, tiles = spoken(body)
        with contextlib.ExitStack() as inside:
            place = inside.enter_context(answering.gate.entered(body.n or 1))

            async def prepared() -> Prepared:
                pictures = await answering.encoded_pictures(urls, place)
                return await answering.prepare(messages, pictures, chat_options(body), tiles, place)

            reply = _ChatReply(body, await while_connected(request, prepared()))
            return await respond(reply, answering, request, inside, stream=body.stream)

    return routes


def spoken(body: ChatBody) -> tuple[list[dict[str, Any]], list[str], int | None]:
    """The messages with a mark in the place of each picture, the pictures' addresses, `max_tiles`.

    Raises:
        Refusal: some pictures are to be seen in less detail than others.
    """
    messages = [_spoken(message) for message in body.messages]
    pictures = [
        part.image_url
        for message in body.messages
        for part in (message.content if isinstance(message.content, list) else ())
        if isinstance(part, ImagePart)
    ]
    low = {picture.detail == "low" for picture in pictures}
    if len(low) > 1:
        raise Refusal(
            400,
            "Some pictures have detail 'low' and others not, but all of a conversation are cut by "
            "one rule: send the same detail with each.",
            param="messages",
        )
    tiles = 1 if True in low else body.max_tiles
    return messages, [picture.url for picture in pictures], tiles


def _spoken(message: AnyMessage) -> dict[str, Any]:
    role = "system" if message.role == "developer" else message.role
    if isinstance(message, AssistantMessage) and message.content is None:
        return {"role": role, "content": ""}
    if isinstance(message.content, str):
        return {"role": role, "content": message.content}
    parts = [
        {"type": "text", "text": part.text} if isinstance(part, TextPart) else {"type": "image"}
        for part in message.content or ()
    ]
    return {"role": role, "content": parts}


def choosing_options(body: Choosing) -> dict[str, Any]:
    """The fields that chat and completions share, as options of `Sampling`."""
    options = {
        name: getattr(body, name)
        for name in (
            "temperature",
            "top_p",
            "seed",
            "stop",
            "frequency_penalty",
            "presence_penalty",
            "logit_bias",
            "max_tokens",
            "top_k",
            "min_p",
            "repetition_penalty",
        )
    }
    return {name: value for name, value in options.items() if value is not None}


def chat_options(body: ChatBody) -> dict[str, Any]:
    """What a body says about the words of its answer, as options of `Sampling`."""
    options = choosing_options(body)
    if body.max_completion_tokens is not None:
        options["max_tokens"] = body.max_completion_tokens
    if body.logprobs:
        options |= {"logprobs": True, "top_logprobs": body.top_logprobs or 0}
    if isinstance(body.response_format, JsonFormat):
        options["json_schema"] = {"type": "object"}
    if isinstance(body.response_format, SchemaFormat):
        options["json_schema"] = body.response_format.json_schema.schema_
    return options


class _ChatReply(Reply):
    """The answers to a conversation."""

    prefix = "chatcmpl"
    chunk = "chat.completion.chunk"

    def __init__(self, body: ChatBody, prepared: Prepared) -> None:
        super().__init__(body, [prepared])
        self._logprobs_wanted = bool(body.logprobs)
        self._texts = [""] * len(self.prepared)

    def whole(self, answers: Sequence[Whole]) -> replies.ChatCompletion:
        choices = [
            replies.ChatChoice(
                index=index,
                message=replies.ChatMessage(
                    content=answer.text, boxes=list(map(replies.Box.of, answer.boxes))
                ),
                logprobs=self._logprobs(answer.choices),
                finish_reason=answer.reason,
            )
            for index, answer in enumerate(answers)
        ]
        usage = self.usage([answer.usage for answer in answers])
        return replies.ChatCompletion(**self.head, choices=choices, usage=usage)

    def first(self, index: int) -> Iterable[replies.ChatChunk]:
        yield self._chunk(index, replies.ChatDelta(role="assistant", content=""))

    def grown(self, index: int, delta: Delta) -> replies.ChatChunk:
        self._texts[index] += delta.text
        more = replies.ChatDelta(content=delta.text)
        return self._chunk(index, more, logprobs=self._logprobs(delta.choices))

    def ended(self, index: int, finish: Finish) -> replies.ChatChunk:
        boxes = self.prepared[index].boxes(self._texts[index])
        delta = replies.ChatDelta(boxes=list(map(replies.Box.of, boxes)))
        return self._chunk(index, delta, finish_reason=finish.reason)

    def last(self) -> replies.ChatChunk:
        return replies.ChatChunk(**self.chunk_head, choices=[])

    def _chunk(
        self,
        index: int,
        delta: replies.ChatDelta,
        logprobs: replies.ChatLogprobs | None = None,
        finish_reason: replies.Reason | None = None,
    ) -> replies.ChatChunk:
        choice = replies.ChatChunkChoice(
            index=index, delta=delta, logprobs=logprobs, finish_reason=finish_reason
        )
        return replies.ChatChunk(**self.chunk_head, choices=[choice])

    def _logprobs(self, choices: Sequence[Choice]) -> replies.ChatLogprobs | None:
        if not self._logprobs_wanted:
            return None
        return replies.ChatLogprobs(
            content=[
                replies.TokenLogprob(
                    **_candidate(choice.chosen).model_dump(),
                    top_logprobs=list(map(_candidate, choice.top)),
                )
                for choice in choices
            ]
        )


def _candidate(candidate: Candidate) -> replies.TopLogprob:
    return replies.TopLogprob(
        token=candidate.text,
        logprob=max(candidate.logprob, replies.LOWEST_LOGPROB),
        bytes=list(candidate.data),
    )
