"""What the two routes that write text share: prompts become answers, whole or in chunks."""

from __future__ import annotations

import contextlib
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, ClassVar

from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel

from vl2.engine import Delta, Event, Finish, Usage
from vl2.server import replies
from vl2.server.answering import Answering, Prepared, Whole
from vl2.server.bodies import Choosing
from vl2.server.sending import EventStream, merged, server_event, together, while_connected


class Reply(ABC):
    """The answers to one body: each prompt has `n` of them, one after another.

    Args:
        body: what was asked for.
        prompts: the prompts, ready.
    """

    prefix: ClassVar[str]
    """How ids of such replies begin."""

    chunk: ClassVar[str]
    """What OpenAI calls the kind of object that a stream is made of."""

    def __init__(self, body: Choosing, prompts: Sequence[Prepared]) -> None:
        each = body.n or 1
        self.prompts = len(prompts)
        self.prepared = [one.varied(index) for one in prompts for index in range(each)]
        options = body.stream_options
        self._wants_usage = options is not None and options.include_usage
        self.head: dict[str, Any] = {
            "id": f"{self.prefix}-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": body.model,
        }
        self.chunk_head: dict[str, Any] = {**self.head, "object": self.chunk}
        if self._wants_usage:
            self.chunk_head["usage"] = None  # until the last chunk, as OpenAI has it

    @abstractmethod
    def whole(self, answers: Sequence[Whole]) -> BaseModel:
        """All answers at once."""

    @abstractmethod
    def first(self, index: int) -> Iterable[BaseModel]:
        """What a stream says about an answer before any of it is there."""

    @abstractmethod
    def grown(self, index: int, delta: Delta) -> BaseModel:
        """Some more of an answer."""

    @abstractmethod
    def ended(self, index: int, finish: Finish) -> BaseModel:
        """The end of an answer."""

    @abstractmethod
    def last(self) -> BaseModel:
        """The end of a stream that was to tell what all answers took, before that is put in."""

    def usage(self, counts: Sequence[Usage]) -> replies.Usage:
        """What all answers took, in tokens."""
        return replies.Usage.of(counts, self.prompts)

    async def chunks(
        self, answers: Sequence[AsyncGenerator[Event, None]]
    ) -> AsyncGenerator[bytes, None]:
        """All answers while they grow, as server-sent events."""
        for index in range(len(answers)):
            for chunk in self.first(index):
                yield server_event(chunk)
        usages: dict[int, Usage] = {}
        async with contextlib.aclosing(merged(answers)) as events:
            async for index, event in events:
                if isinstance(event, Delta):
                    yield server_event(self.grown(index, event))
                else:
                    usages[index] = event.usage
                    yield server_event(self.ended(index, event))
        if self._wants_usage:
            usage = self.usage([usages[index] for index in range(len(answers))])
            yield server_event(self.last().model_copy(update={"usage": usage}))


async def respond(
    reply: Reply,
    answering: Answering,
    request: Request,
    inside: contextlib.ExitStack,
    *,
    stream: bool | None,
) -> Response:
    """Answer a request.

    Args:
        reply: shapes the answers.
        answering: gives them.
        request: is watched for its client's going away.
        inside: what is to be closed when all is sent.
        stream: send the answers while they grow.
    """
    if stream:
        begun = together(*map(answering.begin, reply.prepared))
        answers = await while_connected(request, begun)
        return EventStream(
            reply.chunks(answers), answering.settings.send_seconds, inside.pop_all().close
        )
    works = together(*map(answering.whole, reply.prepared))
    whole = reply.whole(await while_connected(request, works))
    return Response(whole.model_dump_json(), media_type="application/json")
