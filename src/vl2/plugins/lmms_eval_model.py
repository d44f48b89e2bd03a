"""The model as lmms-eval calls it; imported by lmms-eval alone, which must be installed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from lmms_eval.api.model import lmms

from vl2.chat import ConversationLike
from vl2.engine import load
from vl2.engine.assistant import Options
from vl2.errors import InputError
from vl2.plugins.asking import (
    MAX_TOKENS,
    as_fractions,
    cut_at,
    in_parallel,
    pointing_question,
    unless_unaskable,
)

_POINTING = ("refcoco", "bbox_rec")


class _VL2(lmms):
    """What both faces share.

    Args:
        pretrained: nano, tiny, small, base, a folder or a repository.
        device: where it runs.
        dtype: type of its weights.
        batch_size: questions that are asked at once.
        max_tiles: at most so many tiles a picture.
    """

    def __init__(
        self,
        pretrained: str = "nano",
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int | str = 8,
        max_tiles: int | None = None,
        **_: Any,  # noqa: ANN401 - lmms-eval hands in settings of its own
    ) -> None:
        super().__init__()
        self._assistant = load(pretrained, device or "auto", dtype)
        self.batch_size = int(batch_size) if str(batch_size).isdecimal() else 8
        self._max_tiles = None if max_tiles is None else int(max_tiles)

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Answer requests; several at once, in their order."""
        return in_parallel(self._answered, requests, self.batch_size)

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Refused: the benchmarks of the model are answered in words."""
        raise InputError("vl2 answers in words; choose a task of type generate_until.")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Refused."""
        raise InputError("vl2 answers one round a request; choose a task of type generate_until.")

    @abstractmethod
    def _answered(self, request: Any) -> str:  # noqa: ANN401
        """The answer to one request, whose arguments each face is given in an order of its own."""

    def _said(
        self,
        messages: ConversationLike,
        pictures: Sequence[Any],
        settings: Mapping[str, Any],
        context: str,
    ) -> str:
        if (settings.get("num_beams") or 1) > 1:
            raise InputError("vl2 has no beam search: leave num_beams at 1.")
        temperature = float(settings.get("temperature") or 0)
        chosen: Options = {
            "max_tokens": int(settings.get("max_new_tokens") or MAX_TOKENS),
            "temperature": temperature if settings.get("do_sample", temperature > 0) else 0.0,
            "top_p": float(settings.get("top_p") or 1),
        }
        answer = unless_unaskable(
            lambda: (
                self._assistant.chat(messages, pictures, max_tiles=self._max_tiles, **chosen).text
            )
        )
        text = cut_at(answer, settings.get("until")).strip()
        self.cache_hook.add_partial("generate_until", (context, settings), text)
        return text


class VL2Simple(_VL2):
    """For tasks that give a text and pictures; the pictures stand before the text."""

    is_simple = True

    def _answered(self, request: Any) -> str:  # noqa: ANN401
        context, settings, doc_to_visual, doc_id, task, split = request.args
        pictures = doc_to_visual(self.task_dict[task][split][doc_id])
        context = context.replace("<image>", "")
        if all(part in task for part in _POINTING):
            text = self._said(pointing_question(context), pictures, settings, context)
            return as_fractions(text)
        return self._said(context, pictures, settings, context)


class VL2Chat(_VL2):
    """For tasks that give messages with texts and pictures between each other."""

    is_simple = False

    def _answered(self, request: Any) -> str:  # noqa: ANN401
        context, doc_to_messages, settings, doc_id, task, split = request.args
        said = doc_to_messages(self.task_dict[task][split][doc_id])
        messages = [_message(message) for message in said]
        if not all(part in task for part in _POINTING):
            return self._said(messages, (), settings, context)
        parts = messages[-1]["content"]
        text = "".join(part["text"] for part in parts if part["type"] == "text")
        pictures = [part["image"] for part in parts if part["type"] == "image"]
        return as_fractions(self._said(pointing_question(text), pictures, settings, context))


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message of lmms-eval in a spelling of `vl2.chat`.

    Raises:
        InputError: a part that is neither text nor a picture.
    """
    content = message["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return {"role": message["role"], "content": [_part(part) for part in parts]}


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"].replace("<image>", "")}
    if part["type"] == "image":
        return {"type": "image", "image": part["url"]}
    raise InputError(f"The model reads texts and pictures, not {part['type']!r}.")
