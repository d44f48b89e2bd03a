"""What the OpenAPI document says about answers that the routes' types do not tell."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from vl2.server.refusals import ErrorBody

_WHY = {
    400: "The request cannot be answered as it is.",
    401: "The API key is missing or wrong.",
    404: "There is no such model.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    421: "The request calls the server by a name that is not its own.",
    429: "Too many answers are unfinished.",
    500: "The server failed on this request.",
    503: "The server is about to stop.",
}

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": why} for status, why in _WHY.items()
} | {"default": {"model": ErrorBody, "description": "Anything else that went wrong."}}


def either(whole: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """A whole answer as JSON, or a stream of server-sent events."""
    return {
        200: {
            "model": whole,
            "description": "The answer; a stream of it if `stream` is true.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    }
