"""`POST /v1/chat/completions`."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from vl2.engine import Choice, Delta, Event, Usage
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
from vl2.server.sending import EventStream, merged, server_event, together, while_connected

LOWEST_LOGPROB = -9999.0  # JSON has no infinity


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
        count = body.n or 1
        with contextlib.ExitStack() as inside:
            inside.enter_context(answering.gate.entered(count))
            pictures = await while_connected(request, answering.encoded_pictures(urls))
            prepared = await while_connected(
                request, answering.prepare(messages, pictures, chat_options(body), tiles)
            )
            varied = [prepared.varied(index) for index in range(count)]
            reply = _Reply(body)
            if body.stream:
                answers = [answering.begin(each) for each in varied]
                return EventStream(
                    reply.chunks(prepared, answers),
                    answering.settings.send_seconds,
                    inside.pop_all().close,
                )
            works = together(*map(answering.whole, varied))
            whole = reply.whole(await while_connected(request, works))
            return Response(whole.model_dump_json(), media_type="application/json")

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


class _Reply:
    """The answers to one body, whole or in chunks."""

    def __init__(self, body: ChatBody) -> None:
        self._body = body
        self._id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())

    def whole(self, answers: Sequence[Whole]) -> replies.ChatCompletion:
        """All answers at once."""
        return replies.ChatCompletion(
            id=self._id,
            created=self._created,
            model=self._body.model,
            choices=[
                replies.ChatChoice(
                    index=index,
                    message=replies.ChatMessage(
                        content=answer.text, boxes=list(map(replies.Box.of, answer.boxes))
                    ),
                    logprobs=self._logprobs(answer.choices),
                    finish_reason=answer.reason,
                )
                for index, answer in enumerate(answers)
            ],
            usage=replies.Usage.of([answer.usage for answer in answers]),
        )

    async def chunks(
        self, prepared: Prepared, answers: Sequence[AsyncGenerator[Event, None]]
    ) -> AsyncGenerator[bytes, None]:
        """All answers while they grow, as server-sent events."""
        for index in range(len(answers)):
            yield self._chunk(index, replies.ChatDelta(role="assistant", content=""))
        texts = [""] * len(answers)
        usages: list[Usage] = []
        async with contextlib.aclosing(merged(answers)) as events:
            async for index, event in events:
                if isinstance(event, Delta):
                    texts[index] += event.text
                    delta = replies.ChatDelta(content=event.text)
                    yield self._chunk(index, delta, logprobs=self._logprobs(event.choices))
                    continue
                usages.append(event.usage)
                boxes = list(map(replies.Box.of, prepared.boxes(texts[index])))
                delta = replies.ChatDelta(boxes=boxes)
                yield self._chunk(index, delta, finish_reason=event.reason)
        if self._wants_usage:
            yield self._event(choices=[], usage=replies.Usage.of(usages))

    @property
    def _wants_usage(self) -> bool:
        options = self._body.stream_options
        return options is not None and options.include_usage

    def _chunk(self, index: int, delta: replies.ChatDelta, **fields: Any) -> bytes:  # noqa: ANN401
        fields = {"logprobs": None, "finish_reason": None, **fields}
        choice = replies.ChatChunkChoice(index=index, delta=delta, **fields)
        if self._wants_usage:
            return self._event(choices=[choice], usage=None)
        return self._event(choices=[choice])

    def _event(self, **fields: Any) -> bytes:  # noqa: ANN401
        return server_event(
            replies.ChatChunk(
                id=self._id,
                object="chat.completion.chunk",
                created=self._created,
                model=self._body.model,
                **fields,
            )
        )

    def _logprobs(self, choices: Sequence[Choice]) -> replies.ChatLogprobs | None:
        if not self._body.logprobs:
            return None
        return replies.ChatLogprobs(
            content=[
                replies.TokenLogprob(
                    token=choice.chosen.text,
                    logprob=max(choice.chosen.logprob, LOWEST_LOGPROB),
                    bytes=list(choice.chosen.data),
                    top_logprobs=[
                        replies.TopLogprob(
                            token=candidate.text,
                            logprob=max(candidate.logprob, LOWEST_LOGPROB),
                            bytes=list(candidate.data),
                        )
                        for candidate in choice.top
                    ],
                )
                for choice in choices
            ]
        )
