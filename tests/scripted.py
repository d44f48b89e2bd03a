"""An engine that says what a test tells it to, and keeps what it was asked."""

from collections.abc import Generator

from golden import checkpoint

from vl2.engine import Assistant, Delta, Event, Finish, Request, Usage
from vl2.processing.processor import DeepseekVLV2Processor


class ScriptedEngine:
    """Answers every request with the next of `answers`, a few characters at a time."""

    context = 4096
    device = "cpu"
    dtype = "float32"

    def __init__(self, *answers: str, reason: str = "stop") -> None:
        self.answers = list(answers)
        self.reason = reason
        self.requests: list[Request] = []
        self.closed = 0

    def generate(self, request: Request) -> Generator[Event, None, None]:
        self.requests.append(request)
        answer = self.answers.pop(0)
        try:
            for start in range(0, len(answer), 5):
                yield Delta(answer[start : start + 5])
            images = int(request.prompt.image_mask.sum())
            yield Finish(self.reason, Usage(len(request.prompt), images, len(answer)))
        finally:
            self.closed += 1


def scripted(*answers: str, reason: str = "stop") -> tuple[Assistant, ScriptedEngine]:
    """An assistant that gives these answers, and its engine."""
    engine = ScriptedEngine(*answers, reason=reason)
    processor = DeepseekVLV2Processor.from_pretrained(checkpoint("base"))
    return Assistant(engine, processor), engine


def boxes(label: str, *corners: tuple[int, int, int, int]) -> str:
    """What a model writes when it points at something."""
    return f"<|ref|>{label}<|/ref|><|det|>{[list(c) for c in corners]}<|/det|>"
