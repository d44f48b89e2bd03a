"""`POST /v1/locate`: a picture and a phrase become boxes."""

from __future__ import annotations

from fastapi import APIRouter, Request

from vl2 import grounding
from vl2.server import replies
from vl2.server.answering import Answering, Prepared
from vl2.server.bodies import LocateBody
from vl2.server.documented import ERRORS
from vl2.server.sending import while_connected


def router(answering: Answering) -> APIRouter:
    """The route, for one model."""
    routes = APIRouter(tags=["Grounding"])

    @routes.post("/v1/locate", responses=ERRORS)
    async def locate(body: LocateBody, request: Request) -> replies.Located:
        """Find something in a picture; without boxes, `text` is what the model says instead."""
        answering.check_model(body.model)
        question = grounding.locate_question(body.phrase)
        parts = [{"type": "image"}, {"type": "text", "text": question}]
        options = {} if body.max_tokens is None else {"max_tokens": body.max_tokens}
        messages = [{"role": "user", "content": parts}]
        with answering.gate.entered() as place:

            async def prepared() -> Prepared:
                pictures = await answering.encoded_pictures([body.image], place)
                return await answering.prepare(messages, pictures, options, body.max_tiles, place)

            prompt = await while_connected(request, prepared())
            answer = await while_connected(request, answering.whole(prompt))
        assert prompt.size is not None  # there is a picture
        return replies.Located(
            model=answering.settings.model,
            boxes=list(map(replies.Box.of, answer.boxes)),
            text=grounding.strip(answer.text),
            width=prompt.size[0],
            height=prompt.size[1],
            usage=replies.Usage.of([answer.usage]),
        )

    return routes
