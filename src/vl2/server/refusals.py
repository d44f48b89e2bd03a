"""What a client is told when a request cannot be answered, in the shape of OpenAI's errors."""

from __future__ import annotations

import http
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from vl2.errors import BusyError, ContextError, EngineError, ImageError, VL2Error

Kind = Literal["invalid_request_error", "authentication_error", "rate_limit_error", "server_error"]

_CLIENT_GONE = 499  # nginx's, for the counters; nobody reads it

_KINDS: dict[int, Kind] = {401: "authentication_error", 429: "rate_limit_error"}

# Fields of OpenAI's API that ask for something which a DeepSeek-VL2 cannot do.
_IMPOSSIBLE = {
    **dict.fromkeys(
        ("tools", "tool_choice", "functions", "function_call", "parallel_tool_calls"),
        "DeepSeek-VL2 knows no tools",
    ),
    **dict.fromkeys(("audio", "modalities"), "the model answers in text only"),
    **dict.fromkeys(("best_of", "echo", "suffix"), "it is not supported here"),
}

_TYPE_NAMES = {"str", "int", "float", "bool"}

_LONGEST = 200
"""Characters of a client's own words that an error repeats."""


class ErrorDetail(BaseModel):
    """What went wrong, and where."""

    message: str
    type: Kind
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorDetail


class Refusal(Exception):  # noqa: N818 - it is an answer, not a fault
    """A request that is answered with an error.

    Args:
        status: the HTTP status.
        message: one sentence that says what was wrong and what to do.
        param: the field of the request that was wrong.
        code: OpenAI's short name of the mistake.
        headers: more headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers

    @property
    def body(self) -> dict[str, Any]:
        """The answer's JSON."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        detail = ErrorDetail(
            message=self.message,
            type=_KINDS.get(self.status, kind),
            param=self.param,
            code=self.code,
        )
        return ErrorBody(error=detail).model_dump()

    @property
    def response(self) -> JSONResponse:
        """The answer."""
        return JSONResponse(self.body, self.status, self.headers)


class ClientGone(Exception):  # noqa: N818 - nobody's mistake
    """Nobody waits for the answer any longer."""


def refusal_of(error: VL2Error) -> Refusal:
    """What a client is told about an error of the library that its request caused."""
    if isinstance(error, ContextError):
        return Refusal(400, str(error), code="context_length_exceeded")
    if isinstance(error, BusyError):
        return Refusal(429, str(error), headers={"Retry-After": "1"})
    if isinstance(error, EngineError):
        return Refusal(500, str(error))
    code = "invalid_image" if isinstance(error, ImageError) else None
    return Refusal(400, str(error), code=code)


def broken(path: str) -> Refusal:
    """What a client is told about a defect of the server; its cause stands in the log."""
    return Refusal(
        500,
        f"The server failed on this request to {path}; its log says why.",
        headers={"Connection": "close"},
    )


def install(app: FastAPI) -> None:
    """Give every error of an app the one shape."""

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Refusal)
        return error.response

    async def mistaken(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, VL2Error)
        return refusal_of(error).response

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return _first_mistake(error.errors()).response

    async def http_error(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return _http(error).response

    async def gone(_: Request, __: Exception) -> Response:
        return Response(status_code=_CLIENT_GONE)

    async def failed(request: Request, _: Exception) -> JSONResponse:
        return broken(request.url.path).response

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(VL2Error, mistaken)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(ClientGone, gone)
    app.add_exception_handler(Exception, failed)


def _http(error: HTTPException) -> Refusal:
    """An error that the framework found before any of our code ran."""
    message = {
        400: "The body cannot be read as JSON: send one JSON object in UTF-8.",
        404: "There is nothing at this address: GET /openapi.json lists what there is.",
        405: "This address does not take this method: GET /openapi.json lists those that it takes.",
    }.get(error.status_code)
    if message is None:
        message = f"{http.HTTPStatus(error.status_code).phrase}: {error.detail}."
    return Refusal(error.status_code, message, headers=error.headers)


def _first_mistake(mistakes: Sequence[Mapping[str, Any]]) -> Refusal:
    """The first thing that was wrong with a body, in a sentence that names the field."""
    mistake = min(mistakes, key=_weight)
    field, name = _path(mistake["loc"]), str(mistake["loc"][-1])
    if mistake["type"] == "extra_forbidden":
        # Whatever it is called, it is the client's own name and none of a type.
        path = _path(mistake["loc"][:-1])
        field = _shortened(f"{path}.{name}" if path else name)
    if mistake["type"] == "json_invalid" or not field:
        return Refusal(400, _about_the_whole(mistake))
    if mistake["type"] == "extra_forbidden":
        why = _IMPOSSIBLE.get(name)
        message = (
            f"The field {field!r} cannot be honoured ({why}): leave it out."
            if why
            else f"The field {field!r} is unknown here: leave it out, or correct its name."
        )
        return Refusal(400, message, param=field, code="unknown_parameter")
    if mistake["type"] == "missing":
        message = f"The field {field!r} is missing: add it."
        return Refusal(400, message, param=field, code="missing_required_parameter")
    what = _shortened(str(mistake["msg"]).removeprefix("Value error, "))
    return Refusal(400, f"The field {field!r} is wrong: {what}.", param=field, code="invalid_value")


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _weight(mistake: Mapping[str, Any]) -> int:
    """Of several mistakes the lightest is told.

    An unknown field is what others follow from. A value that may be of two types is told to be of
    neither; what else is wrong with it says more.
    """
    if mistake["type"] == "extra_forbidden":
        return 0
    return 2 if mistake["type"].endswith("_type") else 1


def _about_the_whole(mistake: Mapping[str, Any]) -> str:
    if mistake["type"] == "value_error":
        return str(mistake["msg"]).removeprefix("Value error, ")
    if mistake["type"] == "json_invalid":
        where = f" at character {mistake['loc'][-1]}" if len(mistake["loc"]) > 1 else ""
        return f"The body is not JSON{where} ({mistake.get('ctx', {}).get('error', '')})."
    return "The body must be one JSON object, sent with Content-Type: application/json."


def _path(location: Sequence[str | int]) -> str:
    """`messages[0].content` for `("body", "messages", 0, "user", "content", "list[...]")`.

    Between the fields stand names of the types that a field may have; they are left out.
    """
    path, before = "", location[0]
    for part in location[1:]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier() and part not in _TYPE_NAMES and not _is_kind(before):
            path += f".{part}" if path else part
        before = part
    return path


def _is_kind(before: str | int) -> bool:
    """Whether the next name of a location is the kind of thing that stands there, not a field."""
    return isinstance(before, int) or before == "response_format"
