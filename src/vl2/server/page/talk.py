"""A conversation on the page: what the model reads, and what a person sees of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vl2 import grounding
from vl2.chat import IMAGE_TOKEN
from vl2.grounding import Box


@dataclass(frozen=True, slots=True)
class Turn:
    """A question with its pictures, and as much of its answer as there is.

    Attributes:
        question: what the person wrote.
        pictures: paths of the pictures that came with it.
        answer: exactly what the model wrote, with its tags.
        boxes: what it pointed at, in pixels of the last picture.
        note: what the person should know about the answer: that it was cut, and how long it took.
    """

    question: str
    pictures: tuple[str, ...] = ()
    answer: str = ""
    boxes: tuple[Box, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Talk:
    """The turns of a conversation, in order."""

    turns: tuple[Turn, ...] = ()

    @property
    def pictures(self) -> tuple[str, ...]:
        """Paths of all pictures, in order."""
        return tuple(picture for turn in self.turns for picture in turn.pictures)

    def add(self, turn: Turn) -> Talk:
        """The conversation with one more turn."""
        return Talk((*self.turns, turn))

    def answered(self, **changes: Any) -> Talk:  # noqa: ANN401 - the fields of a turn
        """The conversation with its last turn changed."""
        return Talk((*self.turns[:-1], replace(self.turns[-1], **changes)))

    def messages(self, system: str) -> list[dict[str, Any]]:
        """What the model reads: a mark in the place of each picture; no answer to the last turn.

        Args:
            system: what the model is told first; may be empty.
        """
        messages: list[dict[str, Any]] = []
        if system.strip():
            messages.append({"role": "system", "content": system})
        for index, turn in enumerate(self.turns):
            parts: list[dict[str, Any]] = [{"type": "image"} for _ in turn.pictures]
            parts.append({"type": "text", "text": turn.question})
            messages.append({"role": "user", "content": parts})
            if index + 1 < len(self.turns):
                # A model may spell the placeholder letter by letter; no picture stands for it.
                said = turn.answer.replace(IMAGE_TOKEN, "")
                messages.append({"role": "assistant", "content": said})
        return messages

    def shown(self) -> list[dict[str, Any]]:
        """What the chat shows: pictures, questions, and answers without tags."""
        messages: list[dict[str, Any]] = []
        for turn in self.turns:
            messages += [{"role": "user", "content": {"path": path}} for path in turn.pictures]
            if turn.question.strip():
                messages.append({"role": "user", "content": _plain(grounding.strip(turn.question))})
            if turn.answer or turn.note:
                content = _plain(_readable(turn))
                message: dict[str, Any] = {"role": "assistant", "content": content}
                messages.append(message)
        return messages

    def as_text(self) -> str:
        """The conversation for a text file."""
        lines = []
        for turn in self.turns:
            lines += [f"[{Path(picture).name}]" for picture in turn.pictures]
            lines += [f"> {line}" for line in turn.question.splitlines()]
            lines += ["", _readable(turn), ""]
        return "\n".join(lines)

    def as_json(self) -> str:
        """The conversation for a JSON file: exactly what was written, and the boxes."""
        turns = [
            {
                "question": turn.question,
                "pictures": [Path(picture).name for picture in turn.pictures],
                "answer": turn.answer,
                "boxes": [box.as_dict() for box in turn.boxes],
            }
            for turn in self.turns
        ]
        return json.dumps({"turns": turns}, ensure_ascii=False, indent=2)


def _readable(turn: Turn) -> str:
    """The answer without tags, and the note below it."""
    text = grounding.strip(turn.answer)
    return f"{text}\n\n*{turn.note}*" if turn.note else text


def _plain(text: str) -> str:
    """Text as it is, where the chat would read markup of HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;")
