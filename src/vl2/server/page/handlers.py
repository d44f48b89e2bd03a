"""What the page does when somebody asks, stops, clicks or saves."""

from __future__ import annotations

import contextlib
import html
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from vl2.engine import Delta
from vl2.errors import EngineError, VL2Error
from vl2.grounding import Box
from vl2.server.answering import Answering
from vl2.server.page import views
from vl2.server.page.talk import Talk, Turn
from vl2.server.refusals import Refusal

_PACE = 0.05
"""Seconds between two updates of a growing answer; faster ones only cost."""

BOXES_TAB = "boxes"

Message = dict[str, Any]
Update = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Choices:
    """What is set on the page: how words are chosen, the system prompt, and tiles."""

    temperature: float
    top_p: float
    max_tokens: float
    system: str
    max_tiles: float

    @property
    def options(self) -> dict[str, Any]:
        """As options of `Sampling`."""
        return {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": int(self.max_tokens),
        }


class Handlers:
    """What the page's parts call.

    Args:
        answering: the model behind it, with its limits.
    """

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._limits = answering.settings.picture_limits

    async def ask(
        self,
        message: Message | None,
        talk: Talk,
        *settings: Any,  # noqa: ANN401 - sliders
    ) -> AsyncGenerator[Update, None]:
        """Answer what is typed; gives the question's box, the talk and the chat as they grow."""
        turn = _turn(message)
        if turn is None:
            raise _told("Ask something, or add a picture.")
        async with contextlib.aclosing(self._grown(talk.add(turn), Choices(*settings))) as growing:
            async for grown in growing:
                yield busy(), grown, grown.shown()

    async def again(self, talk: Talk, *settings: Any) -> AsyncGenerator[Update, None]:  # noqa: ANN401
        """Answer the last question once more."""
        if not talk.turns:
            raise _told("There is no question yet.")
        asked = talk.answered(answer="", boxes=(), note="")
        async with contextlib.aclosing(self._grown(asked, Choices(*settings))) as growing:
            async for grown in growing:
                yield gr.update(submit_btn=False, stop_btn=True), grown, grown.shown()

    async def _grown(self, talk: Talk, choices: Choices) -> AsyncGenerator[Talk, None]:
        """The conversation while its last answer is written."""
        answering = self._answering
        start = time.monotonic()
        try:
            answering.check_count(len(talk.pictures))
            with answering.gate.entered() as place:
                pictures = list(map(views.read, talk.pictures))
                prepared = await answering.prepare(
                    talk.messages(choices.system),
                    pictures,
                    choices.options,
                    int(choices.max_tiles),
                    place,
                )
                yield talk
                shown = start
                async with contextlib.aclosing(await answering.begin(prepared)) as events:
                    async for event in events:
                        if isinstance(event, Delta):
                            talk = talk.answered(answer=talk.turns[-1].answer + event.text)
                            if time.monotonic() - shown > _PACE:
                                shown = time.monotonic()
                                yield talk
                            continue
                        seconds = time.monotonic() - start
                        cut = "cut at its limit, " if event.reason == "length" else ""
                        count = event.usage.completion_tokens
                        yield talk.answered(
                            boxes=tuple(prepared.boxes(talk.turns[-1].answer)),
                            note=f"{cut}{count} tokens in {seconds:.1f} s",
                        )
        except EngineError as error:
            yield talk.answered(note=f"This answer failed: {error}")
        except VL2Error as error:
            raise _told(str(error)) from error
        except Refusal as refusal:
            raise _told(refusal.message) from refusal

    async def boxes(self, talk: Talk) -> Update:
        """The picture of the last answer with its boxes, the boxes themselves, a line to read."""
        boxes = talk.turns[-1].boxes if talk.turns else ()
        if not boxes or not talk.pictures:
            hidden = gr.update(value=None, visible=False)
            return hidden, ((), ()), "No boxes in the last answer.", gr.skip()
        picture, scaled = await self._answering.in_thread(
            views.with_boxes, talk.pictures[-1], boxes, self._limits
        )
        shown = gr.update(value=picture, visible=True)
        return shown, (boxes, scaled), views.told(None), gr.update(selected=BOXES_TAB)

    def clicked(self, both: tuple[tuple[Box, ...], ...], event: gr.SelectData) -> str:
        """What stands in the box that was clicked on."""
        boxes, scaled = both
        found = views.box_at(scaled, *event.index)
        return views.told(None if found is None else boxes[scaled.index(found)])

    async def look(
        self, message: Message | None, talk: Talk, cut: views.Cut, system: str, max_tiles: float
    ) -> Update:
        """How what is typed would be cut and counted: the pictures, the line, what was cut."""
        turn = _turn(message)
        asked = talk.add(turn or Turn(""))
        key = (asked.pictures, int(max_tiles))
        pictures: Any = gr.skip()
        try:
            self._answering.check_count(len(asked.pictures))
            if key != (cut.paths, cut.max_tiles):
                cut, shown = await self._answering.in_thread(
                    views.cut, *key, self._answering.assistant, self._limits
                )
                columns = 1 if len(shown) < 2 else 2
                pictures = gr.update(value=shown, visible=bool(shown), columns=columns)
            line = views.summary(asked, system, cut, self._answering.assistant)
        except (VL2Error, Refusal) as error:
            gr.Warning(html.escape(str(error)))
            hidden = gr.update(value=None, visible=False)
            return hidden, f"**This cannot be sent.** {html.escape(str(error))}", views.Cut()
        return pictures, line, cut


def _told(sentence: str) -> gr.Error:
    """A mistake as the page shows it, which takes it for HTML."""
    return gr.Error(html.escape(sentence), print_exception=False)


def _turn(message: Message | None) -> Turn | None:
    """What is typed, if anything is."""
    if not message or not (message["text"].strip() or message["files"]):
        return None
    return Turn(message["text"], tuple(message["files"]))


def busy() -> dict[str, Any]:
    """The box of the question while an answer is written: empty, and with a way to stop."""
    return gr.update(value=None, submit_btn=False, stop_btn=True)


def idle() -> dict[str, Any]:
    """The box of the question when something can be asked."""
    return gr.update(submit_btn=True, stop_btn=False)


def cleared() -> Update:
    """An empty page: the box of the question, the talk, the chat."""
    return gr.update(value=None, submit_btn=True, stop_btn=False), Talk(), []


def photographed(message: Message | None, path: str | None) -> Update:
    """A picture of the camera goes to the question, and the camera is ready again."""
    if path is None:
        return gr.skip(), gr.skip()
    message = message or {"text": "", "files": []}
    return {"text": message["text"], "files": [*message["files"], path]}, None
