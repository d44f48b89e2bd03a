"""Answers on their way to clients, who may go away or stop reading at any time."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from vl2.errors import VL2Error
from vl2.server.refusals import ClientGone, refusal_of

Result = TypeVar("Result")
DONE = b"data: [DONE]\n\n"


def server_event(data: BaseModel) -> bytes:
    """One server-sent event; fields that were never set stay out."""
    return b"data: " + data.model_dump_json(exclude_unset=True).encode() + b"\n\n"


async def while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Do some work, and stop it when the client goes away.

    Raises:
        ClientGone: it has gone.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request.receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        await cancelled(working, leaving)


async def cancelled(*tasks: asyncio.Future[Any]) -> None:
    """End tasks and wait until they have cleaned up."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def together(*works: Coroutine[Any, Any, Result]) -> list[Result]:
    """Do several works at once; when one fails the others are stopped."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        await cancelled(*tasks)


async def merged(
    sources: Sequence[AsyncGenerator[Result, None]],
) -> AsyncGenerator[tuple[int, Result], None]:
    """What several sources give, each with the source's index, as it comes.

    Closing it closes them.
    """
    waiting = {asyncio.ensure_future(anext(source)): i for i, source in enumerate(sources)}
    try:
        while waiting:
            ready, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in ready:
                index = waiting.pop(task)
                try:
                    item = task.result()
                except StopAsyncIteration:
                    continue
                yield index, item
                waiting[asyncio.ensure_future(anext(sources[index]))] = index
    finally:
        await cancelled(*waiting)
        for source in sources:
            await source.aclose()


async def told(events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The events, what went wrong if something did, and the mark of the end."""
    async with contextlib.aclosing(events) as given:
        try:
            async for event in given:
                yield event
        except VL2Error as error:
            yield b"data: " + json.dumps(refusal_of(error).body).encode() + b"\n\n"
    yield DONE


class EventStream(Response):
    """Server-sent events. When the client goes away or does not read, their source is closed.

    Args:
        events: whole events.
        send_seconds: how long one may stay unread.
        at_end: called when nothing more will be sent, whether anything was or not.
    """

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        send_seconds: float,
        at_end: Callable[[], None],
    ) -> None:
        super().__init__(
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        del self.headers["content-length"]
        self._events = told(events)
        self._send_seconds = send_seconds
        self._at_end = at_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all events."""
        sending = asyncio.ensure_future(self._send_all(send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and not sending.cancelled():
                sending.result()
        finally:
            await cancelled(sending, leaving)
            await self._events.aclose()
            self._at_end()

    async def _send_all(self, send: Send) -> None:
        """Send everything; who does not read is let go."""
        headers = self.raw_headers
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        async for event in self._events:
            await self._send(send, event, more=True)
        await self._send(send, b"", more=False)

    async def _send(self, send: Send, body: bytes, *, more: bool) -> None:
        # Not `asyncio.wait_for`: before Python 3.12 it can swallow a cancellation.
        this = asyncio.current_task()
        assert this is not None
        patience = asyncio.get_running_loop().call_later(self._send_seconds, this.cancel)
        try:
            await send({"type": "http.response.body", "body": body, "more_body": more})
        finally:
            patience.cancel()
