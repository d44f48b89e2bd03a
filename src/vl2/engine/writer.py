"""From the tokens of an answer to its text, in whole characters and never with a stop text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vl2.engine.detokenizer import Detokenizer
from vl2.engine.requests import Choice, Delta


class Writer:
    """Turns tokens into deltas and watches for stop texts.

    Text that may be the beginning of a stop text is held back until it is clear that it is not.

    Args:
        decode: text of a list of token ids.
        stops: the answer ends before any of these.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str] = ()) -> None:
        self._detokenizer = Detokenizer(decode)
        self._stops = tuple(stops)
        self._held = ""
        self._choices: list[Choice] = []
        self.stopped = False

    def add(self, token: int, choice: Choice | None = None) -> Delta | None:
        """Take the next token; returns what may be given, if anything.

        Afterwards `stopped` tells whether a stop text came.
        """
        if choice is not None:
            self._choices.append(choice)
        text = self._detokenizer.add(token)
        if not self._stops:
            return self._delta(text)
        text = self._held + text
        found = [place for place in map(text.find, self._stops) if place >= 0]
        if found:
            self._held, self.stopped = "", True
            return self._delta(text[: min(found)])
        keep = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :]
        return self._delta(text[: len(text) - keep])

    def end(self, choice: Choice | None = None) -> Delta | None:
        """Take the token that ends the answer without text; returns what was held back."""
        if choice is not None:
            self._choices.append(choice)
        held, self._held = self._held, ""
        return self._delta(held) or (Delta("", self._taken()) if self._choices else None)

    def _delta(self, text: str) -> Delta | None:
        return Delta(text, self._taken()) if text else None

    def _taken(self) -> tuple[Choice, ...]:
        choices, self._choices = tuple(self._choices), []
        return choices


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` with which `stop` begins."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
