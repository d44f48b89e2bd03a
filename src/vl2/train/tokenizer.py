"""A small byte-level BPE for the embedded model, made from rules instead of a corpus.

Three things decide how fast a small model learns from few pictures (docs/decisions/0005-nano.md):

* words of the closed vocabulary of questions and answers are one token each, with and without a
  space before them: an answer begins without one, and a spelt "purple" is six look-ups;
* everything else, above all the text that is read off a picture, is spelled letter by letter:
  there are no merges, a stretch of text is a token as a whole or not at all, so "redder" does not
  begin with "red";
* a coordinate of a box together with the comma or brackets before it is one token.

It stays a byte-level BPE: any text of any language has tokens, at worst one per byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

BOS, EOS, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
ADDED = (
    "<image>",
    "<|ref|>",
    "<|/ref|>",
    "<|det|>",
    "<|/det|>",
    "<|grounding|>",
    "<|User|>",
    "<|Assistant|>",
)
"""Special tokens in the order in which the original's processor adds them."""

_CHUNKS = r"\[\[\d{1,3}|\], \[\d{1,3}|, \d{1,3}|\]\]| ?[A-Za-z]+|\d| ?[^\sA-Za-z\d\[\],]|\n+|."
_BEFORE_A_COORDINATE = ("[[", "], [", ", ")
_COORDINATE = re.compile(r"(?:\[\[|\],Ġ\[|,Ġ)(\d{1,3})")


def build_tokenizer(
    words: Iterable[str], coordinates: Iterable[int], model_max_length: int
) -> PreTrainedTokenizerFast:
    """Make the tokenizer from the words and coordinates that shall be single tokens.

    Args:
        words: words of letters only; each becomes two tokens, one with the space before it.
        coordinates: values 0 to 999 that boxes may contain.
        model_max_length: context in tokens, kept in the tokenizer's own file.

    Returns:
        A tokenizer with the special tokens of DeepSeek-VL2 behind the ordinary ones.
    """
    wholes = [space + word for space in ("", " ") for word in sorted(set(words))]
    wholes += [f"{left}{x}" for left in _BEFORE_A_COORDINATE for x in sorted(set(coordinates))]
    wholes += ["]]", "\n\n"]
    symbols = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *map(_as_bytes, wholes)]
    vocabulary = {symbol: i for i, symbol in enumerate(dict.fromkeys(symbols))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CHUNKS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(token, normalized=False, special=True) for token in (BOS, EOS, PAD)]
    tokenizer.add_special_tokens(special)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=model_max_length,
        clean_up_tokenization_spaces=False,
    )
    fast.add_special_tokens({"extra_special_tokens": list(ADDED)})
    return fast


def coordinate_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, float]:
    """The tokens that stand for a coordinate, with their values as fractions 0..1."""
    matches = {i: _COORDINATE.fullmatch(token) for token, i in tokenizer.get_vocab().items()}
    return {i: int(match[1]) / 999 for i, match in matches.items() if match}


def _as_bytes(text: str) -> str:
    """The text in the printable alphabet that a byte-level BPE works on."""
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(
        text
    )
    return "".join(piece for piece, _ in pieces)
