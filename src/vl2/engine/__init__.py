"""Answers: a loaded model that takes pictures and questions and gives text and boxes."""

from vl2.engine.assistant import Assistant, Stream
from vl2.engine.loading import load
from vl2.engine.requests import Answer, Delta, Engine, Event, Finish, Request, Sampling, Usage

__all__ = [
    "Answer",
    "Assistant",
    "Delta",
    "Engine",
    "Event",
    "Finish",
    "Request",
    "Sampling",
    "Stream",
    "Usage",
    "load",
]
