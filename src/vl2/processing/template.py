"""A conversation becomes token ids, laid out byte for byte as the models were trained.

A conversation is `<bos>`, a system message with nothing around it, and turns of
`<|User|>: question`, a blank line, `<|Assistant|>:`, the answer without a space before it, `<eos>`.
The stretches between control tokens and pictures are tokenised apart, never joined first: the
tokens at their seams would differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vl2.chat import IMAGE_TOKEN, Conversation, Image, Message, Text
from vl2.errors import ConversationError
from vl2.processing.tokens import ASSISTANT_TOKEN, USER_TOKEN, Vocabulary

Kind: TypeAlias = Literal["markup", "text", "picture"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a prompt that is tokenised on its own.

    Attributes:
        kind: `markup`, in which special tokens keep their meaning; `text`, what somebody wrote;
            `picture`, the place of one picture.
        text: how the piece is written in a string.
        supervised: whether a training loss is taken on it when prompts are masked.
    """

    kind: Kind
    text: str
    supervised: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """A prompt's tokens, `[t]` each: ids, places of pictures, places of the training loss."""

    token_ids: NDArray[np.int64]
    image_mask: NDArray[np.bool_]
    supervised: NDArray[np.bool_]


def lay_out(conversation: Conversation, vocabulary: Vocabulary, *, generate: bool) -> list[Piece]:
    """Put a conversation into the layout of the models.

    Args:
        conversation: ends with a question if an answer is to be generated.
        vocabulary: knows how the special tokens are written.
        generate: end with `<|Assistant|>:`, ready for an answer; otherwise a question at the end
            stays without it.

    Raises:
        ConversationError: nothing is left to answer, or there is no message at all.
    """
    messages = conversation.messages
    if not messages or (generate and messages[-1].role != "user"):
        last = f"ends with a message of role {messages[-1].role!r}" if messages else "is empty"
        raise ConversationError(f"The conversation {last}: it must end with a question.")
    pieces = [Piece("markup", vocabulary.tokenizer.bos_token, supervised=True)]
    for index, message in enumerate(messages):
        if message.role == "system":
            pieces.append(Piece("text", message.content.strip()))
        elif message.role == "user":
            pieces += _question(message)
            if generate or index + 1 < len(messages):
                pieces += [Piece("markup", ASSISTANT_TOKEN), Piece("text", ":")]
        else:
            pieces.append(Piece("text", message.content.strip(), supervised=True))
            pieces.append(Piece("markup", vocabulary.tokenizer.eos_token, supervised=True))
    return pieces


def left_open(pieces: Sequence[Piece]) -> list[Piece]:
    """A layout without the `<eos>` that closes its last answer, for an answer to be continued.

    Raises:
        ConversationError: the last message is not an answer.
    """
    if len(pieces) < 2 or not pieces[-2].supervised:
        raise ConversationError("The conversation ends with no answer that could be continued.")
    return list(pieces[:-1])


def read_markup(text: str) -> list[Piece]:
    """Split a string that already is in the layout of the models, as `render` writes it.

    Args:
        text: special tokens keep their meaning; `<image>` stands for one picture.
    """
    pieces = []
    for stretch in re.split(f"({re.escape(IMAGE_TOKEN)})", text):
        if stretch == IMAGE_TOKEN:
            pieces.append(Piece("picture", stretch))
            continue
        # The answer is tokenised apart from the colon before it
        parts = re.split(f"(?<={re.escape(ASSISTANT_TOKEN)}:)", stretch)
        pieces += [Piece("markup", part) for part in parts]
    return pieces


def render(pieces: Iterable[Piece]) -> str:
    """Write a prompt as a string, `<image>` once for each picture."""
    return "".join(piece.text for piece in pieces)


def encode(
    pieces: Iterable[Piece],
    vocabulary: Vocabulary,
    image_tokens: Sequence[int],
    *,
    mask_prompt: bool = True,
) -> Encoding:
    """Turn pieces into token ids.

    Args:
        pieces: of one prompt.
        vocabulary: the tokenizer.
        image_tokens: how many tokens each picture takes.
        mask_prompt: take the loss on answers (and the first token, as the original does) only;
            otherwise on everything but pictures.

    Raises:
        ConversationError: `pieces` has another number of pictures than `image_tokens`.
    """
    pieces = list(pieces)
    places = sum(piece.kind == "picture" for piece in pieces)
    if places != len(image_tokens):
        raise ConversationError(
            f"The text has {IMAGE_TOKEN} {places} times but {len(image_tokens)} pictures came "
            "with it: the two counts must be equal."
        )
    counts = iter(image_tokens)
    ids: list[int] = []
    image_mask: list[bool] = []
    supervised: list[bool] = []
    for piece in pieces:
        is_picture = piece.kind == "picture"
        tokens = [vocabulary.ids.image] * next(counts) if is_picture else _encode(piece, vocabulary)
        ids += tokens
        image_mask += [is_picture] * len(tokens)
        supervised += [(piece.supervised or not mask_prompt) and not is_picture] * len(tokens)
    return Encoding(
        np.array(ids, dtype=np.int64),
        np.array(image_mask, dtype=np.bool_),
        np.array(supervised, dtype=np.bool_),
    )


def _question(message: Message) -> Iterator[Piece]:
    """The pieces of a user's turn, up to the blank line that closes it."""
    yield Piece("markup", USER_TOKEN)
    parts = _stripped(message)
    if not parts:
        yield Piece("text", ":")
        return
    before = ": "
    for part in parts:
        if isinstance(part, Image):
            yield Piece("text", before)
            yield Piece("picture", IMAGE_TOKEN)
            before = ""
        else:
            before += part.text
    yield Piece("text", before + "\n\n")


def _stripped(message: Message) -> list[Text | Image]:
    """The parts of a message without white space at its two ends."""
    parts = list(message.parts)
    if parts and isinstance(parts[0], Text):
        parts[0] = Text(parts[0].text.lstrip())
    if parts and isinstance(parts[-1], Text):
        parts[-1] = Text(parts[-1].text.rstrip())
    return [part for part in parts if isinstance(part, Image) or part.text]


def _encode(piece: Piece, vocabulary: Vocabulary) -> list[int]:
    if piece.kind == "markup":
        return vocabulary.encode_markup(piece.text)
    return vocabulary.encode_text(piece.text)
