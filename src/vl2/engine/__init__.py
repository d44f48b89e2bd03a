"""Answers: a loaded model that takes pictures and questions and gives text and boxes.

`load` gives an `Assistant`, for people. Under it works a `BatchingEngine`, which a server uses
directly; it takes a `Request` (prompt and `Sampling`; `Assistant.prepare` makes one from a
conversation and pictures) and gives events: any number of `Delta`, then one `Finish`.

    for event in engine.generate(request): ...          # synchronous
    async for event in engine.stream(request): ...      # asyncio

Both calls queue the request at once and raise at once `ContextError` (no room for an answer),
`InputError` (a constraint that is no grammar), `MissingExtraError` (a constraint without
llguidance) or `BusyError` (the queue is full). While events are read only `EngineError` is
raised: this answer alone has failed. Closing what either call returned (`close()`, `aclose()`),
leaving it to the garbage collector or cancelling the task that reads it ends the work on the
request before the engine's next step.

Both may be called from any thread, as often as wanted; requests share the steps of the engine's one
thread. `engine.stats()` tells how much it has to do and has done. `engine.close()` ends it; what is
not finished raises `EngineError`.

Importing this package loads no torch until one of its names is used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vl2.engine.assistant import Assistant, Stream
    from vl2.engine.batching import AsyncEvents, BatchingEngine, SyncEvents
    from vl2.engine.limits import Limits
    from vl2.engine.loading import load
    from vl2.engine.requests import (
        Answer,
        Candidate,
        Choice,
        Delta,
        Engine,
        Event,
        Events,
        Finish,
        Request,
        Usage,
    )
    from vl2.engine.sampling import Sampling
    from vl2.engine.stats import Stats

_HOMES = {
    "Answer": "requests",
    "Assistant": "assistant",
    "AsyncEvents": "batching",
    "BatchingEngine": "batching",
    "Candidate": "requests",
    "Choice": "requests",
    "Delta": "requests",
    "Engine": "requests",
    "Event": "requests",
    "Events": "requests",
    "Finish": "requests",
    "Limits": "limits",
    "Request": "requests",
    "Sampling": "sampling",
    "Stats": "stats",
    "Stream": "assistant",
    "SyncEvents": "batching",
    "Usage": "requests",
    "load": "loading",
}

__all__ = [
    "Answer",
    "Assistant",
    "AsyncEvents",
    "BatchingEngine",
    "Candidate",
    "Choice",
    "Delta",
    "Engine",
    "Event",
    "Events",
    "Finish",
    "Limits",
    "Request",
    "Sampling",
    "Stats",
    "Stream",
    "SyncEvents",
    "Usage",
    "load",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attributes are of any type
    """Imports a public name from its home on first use (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'vl2.engine' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"vl2.engine.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
