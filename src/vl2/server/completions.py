"""`POST /v1/completions`: a text is continued as it stands, without a conversation's layout."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import AsyncGenerator, Sequence

from fastapi import APIRouter, Request
from fastapi.responses import Response

from vl2.engine import Choice, Delta, Event, Usage
from vl2.server import replies
from vl2.server.answering import Answering, Whole
from vl2.server.bodies import CompletionBody
from vl2.server.chat import LOWEST_LOGPROB, choosing_options
from vl2.server.documented import ERRORS, either
from vl2.server.sending import EventStream, merged, server_event, together, while_connected

_DEFAULT_LENGTH = 16  # OpenAI's


def router(answering: Answering) -> APIRouter:
    """The route, for one model."""
    routes = APIRouter(tags=["OpenAI"])

    @routes.post(
        "/v1/completions",
        response_model=replies.TextCompletion,
        responses={**ERRORS, **either(replies.TextCompletion)},
    )
    async def completions(body: CompletionBody, request: Request) -> Response:
        """Continue texts."""
        answering.check_model(body.model)
        prompts = _prompts(body)
        each = body.n or 1
        with contextlib.ExitStack() as inside:
            inside.enter_context(answering.gate.entered(len(prompts) * each))
            options = {"max_tokens": _DEFAULT_LENGTH, **choosing_options(body)}
            if body.logprobs is not None:
                options |= {"logprobs": True, "top_logprobs": body.logprobs}
            prepared = await while_connected(
                request, together(*(answering.prepare_text(text, options) for text in prompts))
            )
            varied = [one.varied(index) for one in prepared for index in range(each)]
            reply = _Reply(body, len(prompts))
            if body.stream:
                answers = [answering.begin(each) for each in varied]
                return EventStream(
                    reply.chunks(answers),
                    answering.settings.send_seconds,
                    inside.pop_all().close,
                )
            works = together(*map(answering.whole, varied))
            whole = reply.whole(await while_connected(request, works))
            return Response(whole.model_dump_json(), media_type="application/json")

    return routes


def _prompts(body: CompletionBody) -> list[str | list[int]]:
    """The prompts of a body, of which there may be one or several."""
    prompt = body.prompt
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt[0], int):
        return [[token for token in prompt if isinstance(token, int)]]
    return [one for one in prompt if not isinstance(one, int)]


class _Reply:
    """The continuations of one body, whole or in chunks."""

    def __init__(self, body: CompletionBody, prompts: int) -> None:
        self._body = body
        self._prompts = prompts
        self._id = f"cmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())

    def whole(self, answers: Sequence[Whole]) -> replies.TextCompletion:
        """All continuations at once."""
        return replies.TextCompletion(
            id=self._id,
            created=self._created,
            model=self._body.model,
            choices=[
                replies.TextChoice(
                    index=index,
                    text=answer.text,
                    logprobs=self._logprobs(answer.choices, 0),
                    finish_reason=answer.reason,
                )
                for index, answer in enumerate(answers)
            ],
            usage=replies.Usage.of([answer.usage for answer in answers], self._prompts),
        )

    async def chunks(
        self, answers: Sequence[AsyncGenerator[Event, None]]
    ) -> AsyncGenerator[bytes, None]:
        """All continuations while they grow, as server-sent events."""
        lengths = [0] * len(answers)
        usages: dict[int, Usage] = {}
        async with contextlib.aclosing(merged(answers)) as events:
            async for index, event in events:
                if isinstance(event, Delta):
                    logprobs = self._logprobs(event.choices, lengths[index])
                    lengths[index] += len(event.text)
                    yield self._chunk(index, event.text, logprobs)
                else:
                    usages[index] = event.usage
                    yield self._chunk(index, "", None, event.reason)
        options = self._body.stream_options
        if options is not None and options.include_usage:
            counts = [usages[index] for index in range(len(answers))]
            yield self._event([], replies.Usage.of(counts, self._prompts))

    def _chunk(
        self,
        index: int,
        text: str,
        logprobs: replies.TextLogprobs | None,
        reason: replies.Reason | None = None,
    ) -> bytes:
        choice = replies.TextChoice(index=index, text=text, logprobs=logprobs, finish_reason=reason)
        return self._event([choice], None)

    def _event(self, choices: list[replies.TextChoice], usage: replies.Usage | None) -> bytes:
        return server_event(
            replies.TextCompletion(
                id=self._id,
                object="text_completion",
                created=self._created,
                model=self._body.model,
                choices=choices,
                usage=usage,
            )
        )

    def _logprobs(self, choices: Sequence[Choice], offset: int) -> replies.TextLogprobs | None:
        if self._body.logprobs is None:
            return None
        offsets = []
        for choice in choices:
            offsets.append(offset)
            offset += len(choice.chosen.text)
        return replies.TextLogprobs(
            tokens=[choice.chosen.text for choice in choices],
            token_logprobs=[max(choice.chosen.logprob, LOWEST_LOGPROB) for choice in choices],
            top_logprobs=[
                {each.text: max(each.logprob, LOWEST_LOGPROB) for each in choice.top}
                for choice in choices
            ],
            text_offset=offsets,
        )
