"""A small byte-level BPE for the embedded model, made from rules instead of a corpus.

Three things decide how fast a small model learns from few pictures (docs/decisions/0006):

* words of the closed vocabulary of questions and answers, where a space stands before them, are
  one token each, so that questions are short;
* everything else, above all the text that is read off a picture, is spelled letter by letter:
  a merge always starts at the space, so no merge can glue letters of a word that follows none;
* a coordinate of a box together with the comma or brackets before it is one token.

It stays a byte-level BPE: any text of any language has tokens, at worst one per byte.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

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


def build_tokenizer(
    words: Iterable[str], coordinates: Iterable[int], model_max_length: int
) -> PreTrainedTokenizerFast:
    """Make the tokenizer from the words and coordinates that shall be single tokens.

    Args:
        words: words of letters only; each becomes a token with the space before it.
        coordinates: values 0 to 999 that boxes may contain.
        model_max_length: context in tokens, kept in the tokenizer's own file.

    Returns:
        A tokenizer with the special tokens of DeepSeek-VL2 behind the ordinary ones.
    """
    wholes = [" " + word for word in sorted(set(words))]
    wholes += [f"{left}{x}" for left in _BEFORE_A_COORDINATE for x in sorted(set(coordinates))]
    wholes += ["]]", "\n\n"]
    vocabulary = {symbol: i for i, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges: list[tuple[str, str]] = []
    for whole in wholes:
        _add_chain(_as_bytes(whole), vocabulary, merges)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
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


def _as_bytes(text: str) -> str:
    """The text in the printable alphabet that a byte-level BPE works on."""
    pieces = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(
        text
    )
    return "".join(piece for piece, _ in pieces)


def _add_chain(whole: str, vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> None:
    """Merges that build `whole` from left to right, one symbol at a time."""
    for end in range(2, len(whole) + 1):
        if whole[:end] not in vocabulary:
            vocabulary[whole[:end]] = len(vocabulary)
            merges.append((whole[: end - 1], whole[end - 1]))
