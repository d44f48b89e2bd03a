"""Pictures and a stand-in for a model that the tests of benchmarks share."""

import base64
from collections.abc import Mapping

from golden import picture

from vl2.evals.benchmarks.questions import Question, Task

SMALL, WIDE = "97x61.png", "640x480.png"


def encoded(name: str) -> str:
    """A golden picture as VLMEvalKit's files hold it."""
    return base64.b64encode(picture(name).read_bytes()).decode()


class Scripted:
    """Gives prepared answers by the ids of the questions; raises prepared errors."""

    name = "scripted"

    def __init__(self, answers: Mapping[str, str | Exception]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def answer(self, question: Question, task: Task) -> str:
        """The answer of that question."""
        self.asked.append(question.id)
        said = self.answers[question.id]
        if isinstance(said, Exception):
            raise said
        return said
