"""The tokenizer: loading it safely, its special tokens, and text that cannot act as control."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from vl2.chat import IMAGE_TOKEN
from vl2.errors import CheckpointError
from vl2.grounding.boxes import TAG_PATTERN, TAGS

PAD_TOKEN = "<｜▁pad▁｜>"
USER_TOKEN = "<|User|>"
ASSISTANT_TOKEN = "<|Assistant|>"


@dataclass(frozen=True, slots=True)
class SpecialIds:
    """Ids of the tokens that the chat layout is made of."""

    bos: int
    eos: int
    pad: int
    image: int
    ref_open: int
    ref_close: int
    det_open: int
    det_close: int
    grounding: int
    user: int
    assistant: int


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer with what the chat layout needs to know about it.

    Attributes:
        tokenizer: holds all special tokens.
        ids: ids of the special tokens.
        controls: matches every special token that text must not contain.
    """

    tokenizer: PreTrainedTokenizerFast
    ids: SpecialIds
    controls: re.Pattern[str]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast) -> Vocabulary:
        """Read the special tokens of a tokenizer that has them all.

        Raises:
            CheckpointError: one of them is missing.
        """
        controls = [
            re.escape(token.content)
            for token in tokenizer.added_tokens_decoder.values()
            if token.special and token.content not in TAGS
        ]
        pattern = re.compile("|".join(sorted(controls, key=len, reverse=True)))
        return cls(tokenizer, _special_ids(tokenizer), pattern)

    def encode_text(self, text: str) -> list[int]:
        """Token ids of what somebody wrote.

        The markup of grounding keeps its meaning. Any other special token in the text (a role, an
        end of sequence, `<image>`) is spelled out in ordinary tokens, so that text cannot pose as
        another speaker.
        """
        if self.controls.search(text) is None:
            return self.encode_markup(text)
        ids = []
        for piece in TAG_PATTERN.split(text):
            if piece in TAGS:
                ids.append(self.tokenizer.convert_tokens_to_ids(piece))
            else:
                ids += self._encode_letters(piece)
        return ids

    def encode_markup(self, text: str) -> list[int]:
        """Token ids of text in which every special token keeps its meaning."""
        return self.tokenizer.encode(text, add_special_tokens=False)

    def _encode_letters(self, text: str) -> list[int]:
        """Run the tokenizer without the step that finds added tokens; changes no shared state."""
        backend = self.tokenizer.backend_tokenizer
        if backend.normalizer is not None:
            text = backend.normalizer.normalize_str(text)
        words = [text]
        if backend.pre_tokenizer is not None:
            words = [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text)]
        return [token.id for word in words for token in backend.model.tokenize(word)]


def load_tokenizer(
    path: str | os.PathLike[str],
    **kwargs: Any,  # noqa: ANN401
) -> PreTrainedTokenizerFast:
    """Load the tokenizer of a checkpoint exactly as its `tokenizer.json` states it.

    The released checkpoints name `LlamaTokenizerFast`, which would rebuild the splitting of words
    and give other ids; so their `tokenizer_class` is passed over.

    Args:
        path: a folder, or the name of a repository.
        kwargs: what `from_pretrained` takes, e.g. `revision`.

    Raises:
        CheckpointError: there is no tokenizer, or it cannot be read.
    """
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(path, **kwargs)
        if not isinstance(tokenizer.model_max_length, (int, float)):
            raise TypeError(f"model_max_length is {tokenizer.model_max_length!r}")
        return tokenizer
    except Exception as error:  # the tokenizers library raises no narrower type
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"The tokenizer of {os.fspath(path)!r} cannot be loaded ({reason}): "
            "the checkpoint needs a whole tokenizer.json."
        ) from error


def add_special_tokens(tokenizer: PreTrainedTokenizerFast, pad_token: str = PAD_TOKEN) -> None:
    """Add the special tokens that a tokenizer lacks, in the original's order, so ids are equal.

    Args:
        tokenizer: changed in place.
        pad_token: taken only if the tokenizer has no padding token yet.
    """
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": pad_token})
    known = tokenizer.get_vocab()
    wanted = (IMAGE_TOKEN, *TAGS, USER_TOKEN, ASSISTANT_TOKEN)
    missing = [
        AddedToken(token, special=True, normalized=False) for token in wanted if token not in known
    ]
    tokenizer.add_tokens(missing, special_tokens=True)


def _special_ids(tokenizer: PreTrainedTokenizerFast) -> SpecialIds:
    known = tokenizer.get_vocab()
    wanted = {
        "beginning of sequence": tokenizer.bos_token,
        "end of sequence": tokenizer.eos_token,
        "padding": tokenizer.pad_token,
        **{token: token for token in (IMAGE_TOKEN, *TAGS, USER_TOKEN, ASSISTANT_TOKEN)},
    }
    missing = [name for name, token in wanted.items() if token not in known]
    if missing:
        raise CheckpointError(
            f"The tokenizer has no token for {', '.join(missing)}: "
            "it is not the tokenizer of a DeepSeek-VL2."
        )
    return SpecialIds(*(known[token] for token in wanted.values()))
