"""Reading the arguments that transformers' callers hand to a processor."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import PIL.Image

from vl2.chat import (
    IMAGE_TOKEN,
    Conversation,
    ConversationLike,
    Message,
    Picture,
    check_unicode,
)
from vl2.errors import ConversationError, ImageError, InputError

_SOURCES = ("image", "url", "path", "base64")


def conversations_of(x: Any) -> tuple[bool, list[ConversationLike]]:  # noqa: ANN401 - any caller's
    """Tell one conversation from a list of them.

    Returns:
        Whether `x` is a single one, and the conversations.
    """
    if isinstance(x, (list, tuple)) and x and not isinstance(x[0], (Message, Mapping)):
        return False, [getattr(row, "messages", row) for row in x]
    return True, [getattr(x, "messages", x)]


def texts_of(x: Any) -> list[str]:  # noqa: ANN401 - any caller's
    """The rows of a batch of text; a string alone is one row.

    Raises:
        InputError: there is no text, or something else, or half characters in it.
    """
    rows = [x] if isinstance(x, str) else x
    if isinstance(rows, (list, tuple)) and rows and all(isinstance(row, str) for row in rows):
        for row in rows:
            check_unicode(row)
        return list(rows)
    raise InputError(f"The processor needs text, a string or a list of them, got {x!r}.")


def stand_ins(conversation: ConversationLike) -> list[Picture]:
    """One empty picture for each that a conversation refers to but does not hold.

    They let a conversation be laid out as text before its pictures are at hand.
    """
    if isinstance(conversation, str):
        return [b""] * conversation.count(IMAGE_TOKEN)
    if isinstance(conversation, Conversation) or not isinstance(conversation, Iterable):
        return []
    return [b""] * sum(_missing(item) for item in conversation if isinstance(item, Mapping))


def distributed(images: Any, counts: Sequence[int]) -> list[list[Picture]]:  # noqa: ANN401
    """Give each row of a batch its pictures.

    Args:
        images: `None`, one picture, a list of them for all rows in order, or a list for each row.
        counts: how many pictures each row has places for.

    Raises:
        ConversationError: the numbers of rows or of pictures do not fit.
        ImageError: what came is neither a picture nor a list of them.
    """
    if images is None:
        return [[] for _ in counts]
    images = _listed(images)
    if any(row is None or isinstance(row, (list, tuple)) for row in images):
        if len(images) != len(counts):
            raise ConversationError(
                f"There are {len(counts)} texts but {len(images)} lists of pictures: "
                "hand in one list for each text, or one list for all."
            )
        return [_listed(() if row is None else row) for row in images]
    if len(images) != sum(counts):
        raise ConversationError(
            f"The texts have {IMAGE_TOKEN} {sum(counts)} times but {len(images)} pictures came "
            "with them: the two counts must be equal."
        )
    rest = iter(images)
    return [[next(rest) for _ in range(count)] for count in counts]


def _listed(images: Any) -> list[Any]:  # noqa: ANN401
    """A list of pictures; one alone counts as a list of one."""
    if _is_picture(images):
        return [images]
    if not isinstance(images, Iterable):
        raise ImageError(f"Pictures must come as a list, got {type(images).__name__}.")
    return list(images)


def _missing(message: Mapping[str, Any]) -> int:
    """How many pictures a message refers to but does not hold."""
    content = message.get("content")
    if message.get("images") or not isinstance(content, Iterable):
        return 0
    if isinstance(content, str):
        return content.count(IMAGE_TOKEN)
    parts = [part for part in content if isinstance(part, Mapping)]
    images = [part for part in parts if part.get("type") in ("image", "image_url")]
    if not images:
        return sum(str(part.get("text", "")).count(IMAGE_TOKEN) for part in parts)
    return sum(
        part["type"] == "image" and all(part.get(key) is None for key in _SOURCES)
        for part in images
    )


def _is_picture(x: Any) -> bool:  # noqa: ANN401
    return isinstance(x, (str, bytes, os.PathLike, PIL.Image.Image))
