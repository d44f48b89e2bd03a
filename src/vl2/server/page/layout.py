"""Where the parts of the page stand, and what calls what."""

from __future__ import annotations

import html
from typing import Any, NamedTuple

import gradio as gr

from vl2.server.answering import Answering
from vl2.server.page import handlers as on
from vl2.server.page.examples import examples
from vl2.server.page.handlers import Handlers
from vl2.server.page.talk import Talk
from vl2.server.page.views import Cut

_HINT = "Add pictures with the clip, by dragging or by pasting them, and ask about them."
_NOTHING_TYPED = "Type a question or add a picture to see how it will be cut and counted."

# Saves a text in the browser: nothing is written on the server.
_SAVE = """(text) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], {type: "KIND"}));
  link.download = "NAME";
  link.click();
  URL.revokeObjectURL(link.href);
}"""


class _Chat(NamedTuple):
    """The parts of the conversation."""

    talk: gr.State
    chatbot: gr.Chatbot
    question: gr.MultimodalTextbox
    again: gr.Button
    clear: gr.Button
    as_text: gr.Button
    as_json: gr.Button
    saved: gr.Textbox


class _Views(NamedTuple):
    """The parts beside it."""

    tabs: gr.Tabs
    boxes: gr.State
    boxed: gr.Image
    clicked: gr.Markdown
    cut: gr.State
    tiles: gr.Gallery
    counted: gr.Markdown
    camera: gr.Image


def build(answering: Answering) -> gr.Blocks:
    """The page for one model."""
    handlers = Handlers(answering)
    with gr.Blocks(title="vl2", analytics_enabled=False, fill_width=True) as page:
        gr.HTML(_heading(answering), elem_id="heading")
        with gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=320):
                chat = _chat()
            with gr.Column(scale=2, min_width=320), gr.Tabs() as tabs:
                views = _views(tabs)
                settings = _settings(answering)
        _connect_chat(handlers, chat, views, settings)
        _connect_views(handlers, chat, views, settings)
    page.queue(max_size=answering.settings.queue, default_concurrency_limit=None)
    return page


def _heading(answering: Answering) -> str:
    assistant = answering.assistant
    facts = (answering.settings.model, assistant.dtype, assistant.device)
    listed = "".join(f"<li>{html.escape(fact)}</li>" for fact in facts)
    return f"<h1>vl2</h1><ul aria-label='model, precision, device'>{listed}</ul>"


def _chat() -> _Chat:
    talk = gr.State(Talk())
    chatbot = gr.Chatbot(
        show_label=False,
        height="58vh",
        min_height=280,
        placeholder=_HINT,
        buttons=["copy"],
        latex_delimiters=[],
        elem_id="chat",
    )
    question = gr.MultimodalTextbox(
        show_label=False,
        placeholder="Ask something",
        file_count="multiple",
        file_types=["image"],
        sources=["upload"],
        autofocus=True,
        elem_id="question",
    )
    with gr.Row(elem_id="doing"):
        again = gr.Button("Regenerate", size="sm", min_width=90)
        clear = gr.Button("Clear", size="sm", min_width=60)
        as_text = gr.Button("Save text", size="sm", min_width=80)
        as_json = gr.Button("Save JSON", size="sm", min_width=80)
    saved = gr.Textbox(visible="hidden")
    labels, values = examples()
    gr.Examples(values, question, example_labels=labels, label="Examples", elem_id="examples")
    return _Chat(talk, chatbot, question, again, clear, as_text, as_json, saved)


def _views(tabs: gr.Tabs) -> _Views:
    with gr.Tab("Boxes", id=on.BOXES_TAB):
        boxes = gr.State(((), ()))
        clicked = gr.Markdown("No boxes in the last answer.", elem_id="clicked")
        boxed = gr.Image(
            show_label=False,
            interactive=False,
            visible=False,
            buttons=["download", "fullscreen"],
            elem_id="boxed",
            format="png",
        )
    with gr.Tab("Tiles"):
        cut = gr.State(Cut())
        counted = gr.Markdown(_NOTHING_TYPED, elem_id="counted")
        tiles = gr.Gallery(
            show_label=False,
            columns=1,
            height="auto",
            object_fit="contain",
            interactive=False,
            buttons=[],
            elem_id="tiles",
            visible=False,
            format="jpeg",
        )
    with gr.Tab("Camera"):
        camera = gr.Image(
            show_label=False,
            sources=["webcam"],
            type="filepath",
            elem_id="camera",
            webcam_options=gr.WebcamOptions(mirror=False),  # a mirrored text cannot be read
        )
    return _Views(tabs, boxes, boxed, clicked, cut, tiles, counted, camera)


def _settings(answering: Answering) -> list[Any]:
    """What can be set, in the order of the fields of `Choices`."""
    assistant = answering.assistant
    most = assistant.processor.tiling.max_tiles
    context = assistant.engine.context
    with gr.Tab("Settings"):
        return [
            gr.Slider(0, 2, 0, step=0.05, label="Temperature", info="0: the likeliest word"),
            gr.Slider(0.05, 1, 1, step=0.05, label="Top-p", info="1: all words"),
            gr.Slider(
                1,
                context,
                min(512, context),
                step=1,
                label="Maximum length",
                info="tokens of an answer",
            ),
            gr.Textbox("", label="System prompt", lines=2, max_lines=6, placeholder="none"),
            gr.Slider(
                1, most, most, step=1, label="Tiles a picture", info="fewer: faster, less detail"
            ),
        ]


def _connect_chat(handlers: Handlers, chat: _Chat, views: _Views, settings: list[Any]) -> None:
    growing = [chat.question, chat.talk, chat.chatbot]
    pointing = [views.boxed, views.boxes, views.clicked, views.tabs]
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    asked = chat.question.submit(
        handlers.ask, [chat.question, chat.talk, *settings], growing, **quiet
    )
    again = gr.on(
        [chat.again.click, chat.chatbot.retry],
        handlers.again,
        [chat.talk, *settings],
        growing,
        **quiet,
    )
    for answered in (asked, again):
        answered.then(on.idle, None, chat.question, **quiet)
        answered.then(handlers.boxes, chat.talk, pointing, **quiet)
    chat.question.stop(on.idle, None, chat.question, cancels=[asked, again], **quiet)
    # First the end of the answer, then the empty page: a last piece must not come after it.
    gr.on(
        [chat.clear.click, chat.chatbot.clear], None, None, None, cancels=[asked, again], **quiet
    ).then(on.cleared, None, growing, **quiet).then(handlers.boxes, chat.talk, pointing, **quiet)
    for button, write, name, kind in (
        (chat.as_text, Talk.as_text, "conversation.txt", "text/plain"),
        (chat.as_json, Talk.as_json, "conversation.json", "application/json"),
    ):
        save = _SAVE.replace("KIND", kind).replace("NAME", name)
        button.click(write, chat.talk, chat.saved, **quiet).then(
            None, chat.saved, None, js=save, api_visibility="private"
        )


def _connect_views(handlers: Handlers, chat: _Chat, views: _Views, settings: list[Any]) -> None:
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    *_, system, max_tiles = settings
    views.boxed.select(handlers.clicked, views.boxes, views.clicked, **quiet)
    gr.on(
        [chat.question.change, system.change, max_tiles.change, chat.talk.change],
        handlers.look,
        [chat.question, chat.talk, views.cut, system, max_tiles],
        [views.tiles, views.counted, views.cut],
        trigger_mode="always_last",
        **quiet,
    )
    views.camera.change(
        on.photographed, [chat.question, views.camera], [chat.question, views.camera], **quiet
    )
