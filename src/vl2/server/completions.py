"""`POST /v1/completions`: a text is continued as it stands, without a conversation's layout."""

from __future__ import annotations

import codecs
import contextlib
from collections.abc import Iterable, Sequence

from fastapi import APIRouter, Request
from fastapi.responses import Response

from vl2.engine import Choice, Delta, Finish
from vl2.server import replies
from vl2.server.answering import Answering, Prepared, Whole
from vl2.server.bodies import CompletionBody
from vl2.server.chat import choosing_options
from vl2.server.documented import ERRORS, either
from vl2.server.replying import Reply, respond
from vl2.server.sending import together, while_connected

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
        options = {"max_tokens": _DEFAULT_LENGTH, **choosing_options(body)}
        if body.logprobs is not None:
            options |= {"logprobs": True, "top_logprobs": body.logprobs}
        with contextlib.ExitStack() as inside:
            inside.enter_context(answering.gate.entered(len(prompts) * (body.n or 1)))
            preparing = together(*(answering.prepare_text(text, options) for text in prompts))
            reply = _TextReply(body, await while_connected(request, preparing))
            return await respond(reply, answering, request, inside, stream=body.stream)

    return routes


def _prompts(body: CompletionBody) -> list[str | list[int]]:
    """The prompts of a body, of which there may be one or several."""
    prompt = body.prompt
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt[0], int):
        return [[token for token in prompt if isinstance(token, int)]]
    return [one for one in prompt if not isinstance(one, int)]


class _TextReply(Reply):
    """The continuations of one body's prompts."""

    prefix = "cmpl"
    chunk = "text_completion"

    def __init__(self, body: CompletionBody, prompts: Sequence[Prepared]) -> None:
        super().__init__(body, prompts)
        self._logprobs_wanted = body.logprobs is not None
        self._offsets = [Offsets() for _ in self.prepared]

    def whole(self, answers: Sequence[Whole]) -> replies.TextCompletion:
        choices = [
            replies.TextChoice(
                index=index,
                text=answer.text,
                logprobs=self._logprobs(index, answer.choices),
                finish_reason=answer.reason,
            )
            for index, answer in enumerate(answers)
        ]
        usage = self.usage([answer.usage for answer in answers])
        return replies.TextCompletion(**self.head, choices=choices, usage=usage)

    def first(self, index: int) -> Iterable[replies.TextCompletion]:
        return ()

    def grown(self, index: int, delta: Delta) -> replies.TextCompletion:
        return self._chunk(index, delta.text, self._logprobs(index, delta.choices))

    def ended(self, index: int, finish: Finish) -> replies.TextCompletion:
        return self._chunk(index, "", None, finish.reason)

    def last(self) -> replies.TextCompletion:
        return replies.TextCompletion(**self.chunk_head, choices=[])

    def _chunk(
        self,
        index: int,
        text: str,
        logprobs: replies.TextLogprobs | None,
        reason: replies.Reason | None = None,
    ) -> replies.TextCompletion:
        choice = replies.TextChoice(index=index, text=text, logprobs=logprobs, finish_reason=reason)
        return replies.TextCompletion(**self.chunk_head, choices=[choice])

    def _logprobs(self, index: int, choices: Sequence[Choice]) -> replies.TextLogprobs | None:
        if not self._logprobs_wanted:
            return None
        return replies.TextLogprobs(
            tokens=[choice.chosen.text for choice in choices],
            token_logprobs=[
                max(choice.chosen.logprob, replies.LOWEST_LOGPROB) for choice in choices
            ],
            top_logprobs=[
                {each.text: max(each.logprob, replies.LOWEST_LOGPROB) for each in choice.top}
                for choice in choices
            ],
            text_offset=[self._offsets[index].next(choice.chosen.data) for choice in choices],
        )


class Offsets:
    """Where tokens begin in the text that they make, in characters.

    A token may hold a part of a character only, so the bytes are counted, not what each token looks
    like alone. A token in the middle of a character begins where that character does.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._characters = 0

    def next(self, data: bytes) -> int:
        """Where the next token begins.

        Args:
            data: its bytes.
        """
        begin = self._characters
        self._characters += len(self._decoder.decode(data))
        return begin
