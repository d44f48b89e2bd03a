"""What the engine knows about one request while it works on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch

from vl2.engine.pages import next_key
from vl2.engine.pictures import Picture
from vl2.engine.requests import Event, Request
from vl2.engine.runner import Span
from vl2.engine.sampler import Sampler
from vl2.engine.storage import BLOCK
from vl2.engine.writer import Writer
from vl2.errors import VL2Error

Sink: TypeAlias = Callable[[Event | VL2Error], None]
"""Takes the events of an answer, the last of them a `Finish` or the error that ended it."""


class Sequence:
    """One request: its tokens, how many of them are in the cache, and where.

    Args:
        request: the request.
        pictures: the pictures of its prompt.
        limit: tokens that the answer may have.
        sampler: chooses its tokens.
        writer: turns them into text.
        sink: who is told.
    """

    def __init__(
        self,
        request: Request,
        pictures: tuple[Picture, ...],
        limit: int,
        sampler: Sampler,
        writer: Writer,
        sink: Sink,
    ) -> None:
        self.request, self.pictures, self.limit = request, pictures, limit
        self.sampler, self.writer, self.sink = sampler, writer, sink
        self.number = 0  # place in the order of arrival; earlier ones go first
        self.prompt_tokens = len(request.prompt)
        self.tokens: list[int] = request.prompt.token_ids.tolist()
        self.computed = 0
        self.reused = 0
        self.pages: list[int] = []
        self.cancelled = False
        self._rows: dict[bytes, torch.Tensor] = {}
        self._keys: list[bytes] = []

    @property
    def remaining(self) -> int:
        """Tokens that are not in the cache yet; 1 while the answer is being written."""
        return len(self.tokens) - self.computed

    @property
    def answered(self) -> int:
        """Tokens of the answer so far."""
        return len(self.tokens) - self.prompt_tokens

    def key(self, index: int) -> bytes:
        """Key of the full page `index`."""
        while len(self._keys) <= index:
            start = len(self._keys) * BLOCK
            end = start + BLOCK
            shown = [
                (picture.content, max(start - picture.first, 0))
                for picture in self.pictures
                if picture.first < end and picture.end > start
            ]
            previous = self._keys[-1] if self._keys else b""
            self._keys.append(next_key(previous, self.tokens[start:end], shown))
        return self._keys[index]

    def missing_picture(self) -> Picture | None:
        """The first picture that has to be encoded before the next tokens can be computed."""
        for picture in self.pictures:
            if picture.end > self.computed and picture.content not in self._rows:
                return picture
        return None

    def give_rows(self, picture: Picture, rows: torch.Tensor) -> None:
        """Take the encoded rows of a picture."""
        self._rows[picture.content] = rows

    def drop_rows(self) -> None:
        """Let go of encoded pictures."""
        self._rows.clear()

    def span(self, count: int) -> Span:
        """The next `count` tokens, as the runner takes them."""
        start, end = self.computed, self.computed + count
        slots: list[int] = []
        parts: list[torch.Tensor] = []
        for picture in self.pictures:
            first, last = max(start, picture.first), min(end, picture.end)
            if first < last:
                slots += range(first - start, last - start)
                parts.append(
                    self._rows[picture.content][first - picture.first : last - picture.first]
                )
        rows = torch.cat(parts) if parts else None
        return Span(self.tokens[start:end], start, self.pages, slots, rows)
