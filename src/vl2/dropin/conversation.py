"""`deepseek_vl2.models.conversation`: a conversation as roles and texts, and how it is printed.

What the model reads is made by `vl2.processing.template`; the strings here are what the original's
scripts print as `sft_format` and what its web demo keeps as history.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from vl2.errors import InputError
from vl2.processing.tokens import ASSISTANT_TOKEN, USER_TOKEN

END_OF_SENTENCE = "<｜end▁of▁sentence｜>"


class SeparatorStyle(IntEnum):
    """How turns are told apart: in the chat layout, or not at all."""

    DeepSeek = 1
    PLAIN = 3


@dataclass
class Conversation:
    """Turns of a conversation, as pairs of role and text, and how to print them.

    Attributes:
        name: of the layout.
        system_template: the system message goes in at `{system_message}`.
        system_message: what the model is told before the first turn.
        roles: names of the user and of the model.
        messages: pairs of role and text; a text that is empty or None is still to be said.
        offset: how many messages at the beginning are examples.
        sep_style: which layout.
        sep: follows what the user said.
        sep2: follows what the model said.
        stop_str: texts that end an answer.
        stop_token_ids: tokens that end an answer; None for that of the tokenizer.
    """

    name: str
    system_template: str = "{system_message}"
    system_message: str = ""
    roles: tuple[str, str] = (USER_TOKEN, ASSISTANT_TOKEN)
    messages: list[list[Any]] = field(default_factory=list)
    offset: int = 0
    sep_style: SeparatorStyle = SeparatorStyle.DeepSeek
    sep: str = "\n\n"
    sep2: str = END_OF_SENTENCE
    stop_str: list[str] = field(default_factory=lambda: [END_OF_SENTENCE])
    stop_token_ids: list[int] | None = None

    def get_prompt(self) -> str:
        """The conversation as one string."""
        system = self.system_template.format(system_message=self.system_message)
        chat = self.sep_style == SeparatorStyle.DeepSeek
        written = [system + self.sep if system and chat else system]
        for role, message in self.messages:
            end = self.sep2 if role == self.roles[1] else self.sep
            if not chat:
                written.append(f"{message}{end}" if message else "")
            else:
                written.append(f"{role}: {message}{end}" if message else f"{role}:")
        return "".join(written)

    def set_system_message(self, system_message: str) -> None:
        """Sets what the model is told before the first turn."""
        self.system_message = system_message

    def append_message(self, role: str, message: Any) -> None:  # noqa: ANN401 - a text, or with pictures
        """Adds a turn."""
        self.messages.append([role, message])

    def update_last_message(self, message: Any) -> None:  # noqa: ANN401
        """Writes the text of the last turn, which was still to be said."""
        self.messages[-1][1] = message

    def reset_message(self) -> None:
        """Forgets all turns."""
        self.messages = []

    def to_gradio_chatbot(self) -> list[list[Any]]:
        """Pairs of question and answer, for Gradio's chat window."""
        said = [message for _, message in self.messages[self.offset :]]
        answers = [*said[1::2], None]
        return [[question, answers[turn]] for turn, question in enumerate(said[::2])]

    def to_openai_api_messages(self) -> list[dict[str, Any]]:
        """Messages as OpenAI's interface takes them."""
        system = self.system_template.format(system_message=self.system_message)
        said = [
            {"role": "assistant" if index % 2 else "user", "content": message}
            for index, (_, message) in enumerate(self.messages[self.offset :])
            if index % 2 == 0 or message is not None
        ]
        return [{"role": "system", "content": system}, *said]

    def copy(self) -> Conversation:
        """A conversation that can be changed without changing this one."""
        fresh = copy.copy(self)
        fresh.messages = [list(message) for message in self.messages]
        return fresh

    def dict(self) -> dict[str, Any]:
        """The conversation as JSON shows it."""
        return {
            "template_name": self.name,
            "system_message": self.system_message,
            "roles": self.roles,
            "messages": self.messages,
            "offset": self.offset,
        }


conv_templates: dict[str, Conversation] = {}
"""Empty conversations by the name of their layout."""


def register_conv_template(template: Conversation, override: bool = False) -> None:
    """Adds a layout.

    Raises:
        InputError: there is one by that name, and `override` is not set.
    """
    if template.name in conv_templates and not override:
        raise InputError(
            f"There is a conversation template {template.name!r} already: pass override=True."
        )
    conv_templates[template.name] = template


def get_conv_template(name: str) -> Conversation:
    """An empty conversation in the layout of that name.

    Raises:
        InputError: there is no such layout.
    """
    if name not in conv_templates:
        raise InputError(
            f"There is no conversation template {name!r}: use one of {', '.join(conv_templates)}."
        )
    return conv_templates[name].copy()


register_conv_template(Conversation("deepseek"))
register_conv_template(
    Conversation("plain", "", roles=("", ""), sep_style=SeparatorStyle.PLAIN, sep="", sep2="")
)
