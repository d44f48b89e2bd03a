"""Looking a set of rows over before anything is trained on it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from vl2.chat import Message
from vl2.errors import InputError
from vl2.grounding.boxes import DET_CLOSE, DET_OPEN, GRID
from vl2.processing.images import open_image
from vl2.train.measure import Measurer, Size, measure_each
from vl2.train.recipe import Recipe
from vl2.train.rows import BadRowError, Lesson

_LISTS = re.compile(re.escape(DET_OPEN) + r"(.*?)" + re.escape(DET_CLOSE), re.DOTALL)
_NUMBERS = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")
_KEPT = 1000
"""Findings that a report names; more are only counted."""


class Checker(Measurer):
    """Measures rows as training does, and looks for what training would not notice.

    A row is found fault with if its answers are empty or learn nothing, or if boxes lie outside
    0..999, have their corners in the wrong order or lack a number.

    Args:
        decode: whether to decode every picture too; that takes much longer.
        arguments: those of `Measurer`.
    """

    def __init__(self, *arguments: object, decode: bool = False) -> None:
        super().__init__(*arguments)  # pyrefly: ignore[bad-argument-type]
        self._decode = decode

    def measure(self, lesson: Lesson) -> Size:
        size = super().measure(lesson)
        if size.supervised == 0:
            raise InputError("nothing is learnt from it: it has no answer")
        for message in lesson.conversation.messages:
            for problem in _problems(message):
                raise InputError(problem)
        if self._decode:
            for image in lesson.conversation.images:
                open_image(image.source)
        return size

    def __getitem__(self, index: int) -> Size:
        try:
            return super().__getitem__(index)
        except InputError as error:
            return Size(0, 0, reason=str(BadRowError(self._read(index).name, error)))


@dataclass(slots=True)
class Report:
    """What was found in a set.

    Attributes:
        rows: rows looked at.
        bad: how many cannot be learnt from, or should not be.
        findings: the first of them, as `NAME: REASON`.
        tokens: of the good rows.
        longest: tokens of the longest good row.
        tiles: of the good rows.
        supervised: tokens with a loss.
        pictured: good rows with a picture.
    """

    rows: int = 0
    bad: int = 0
    findings: list[str] = field(default_factory=list)
    tokens: int = 0
    longest: int = 0
    tiles: int = 0
    supervised: int = 0
    pictured: int = 0

    def add(self, size: Size) -> None:
        """Count one row."""
        self.rows += 1
        if size.reason:
            self.bad += 1
            if len(self.findings) < _KEPT:
                self.findings.append(size.reason)
            return
        self.tokens += size.tokens
        self.longest = max(self.longest, size.tokens)
        self.tiles += size.tiles
        self.supervised += size.supervised
        self.pictured += size.tiles > 0

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def tokens_allowed(wanted: int | None, context: int) -> int:
    """How many tokens a row may have.

    Args:
        wanted: None for as many as a recipe allows that does not say, and the model can read.
        context: tokens that the model can read.

    Raises:
        InputError: `wanted` is more than that.
    """
    if wanted is None:
        return min(Recipe(name="unsaid").max_tokens, context)
    if wanted > context:
        raise InputError(
            f"The model reads {context} tokens at most, and rows of {wanted} were allowed: give "
            f"--max-tokens {context} or less, or another --model."
        )
    return wanted


def check(checker: Checker, workers: int) -> Iterator[Report]:
    """Looks every row over; gives the report after each."""
    report = Report()
    for size in measure_each(checker, workers):
        report.add(size)
        yield report


def _problems(message: Message) -> Iterator[str]:
    """What is wrong with one message's text."""
    if message.role == "assistant" and not message.content.strip():
        yield "an answer is empty"
    for opened in _LISTS.findall(message.content):
        values = [float(number) for number in _NUMBERS.findall(opened)]
        if not values or len(values) % 4:
            yield f"a list of boxes has {len(values)} numbers, which is no multiple of four"
        for value in values:
            if not 0 <= value <= GRID:
                yield f"a box has the coordinate {value:g}, outside 0..{GRID}"
        for x1, y1, x2, y2 in zip(*[iter(values)] * 4, strict=False):
            if x1 > x2 or y1 > y2:
                yield f"a box ends before it begins: [{x1:g}, {y1:g}, {x2:g}, {y2:g}]"
    tags = Counter(tag for tag in (DET_OPEN, DET_CLOSE) for _ in range(message.content.count(tag)))
    if tags[DET_OPEN] != tags[DET_CLOSE]:
        yield f"{DET_OPEN} and {DET_CLOSE} do not come in pairs"
