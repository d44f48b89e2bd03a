"""Token ids to text, one at a time, in whole characters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_REPLACEMENT = "\ufffd"
_LONGEST_WINDOW = 64

# A tokenizer of bytes spells each byte as one character: itself where that can be seen, else one of
# those from 256 on, in the order of the bytes.
_SEEN = (*range(33, 127), *range(161, 173), *range(174, 256))
_UNSEEN = (byte for byte in range(256) if byte not in _SEEN)
_BYTES = {chr(byte): byte for byte in _SEEN}
_BYTES |= {chr(256 + place): byte for place, byte in enumerate(_UNSEEN)}


def token_bytes(text: str, spelling: str) -> bytes:
    """The bytes that a token stands for.

    Args:
        text: what it decodes to alone; part of a character shows as U+FFFD.
        spelling: how the vocabulary of a tokenizer of bytes spells it.
    """
    if _REPLACEMENT not in text or not _BYTES.keys() >= set(spelling):
        return text.encode()
    return bytes(_BYTES[character] for character in spelling)


class Detokenizer:
    """Turns a growing list of token ids into text without ever splitting a character.

    A tokenizer of bytes may spread one Chinese character or emoji over several tokens, and decodes
    an incomplete one as a single U+FFFD at the end. That one is held back until its character is
    whole or other text follows it. The pieces together are the text of all tokens, less an
    incomplete character at the very end.

    Args:
        decode: text of a list of token ids.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        # The last token stays in the window, for the text of a token may depend on the one before.
        self._window: list[int] = []
        self._given = 0

    def add(self, token: int) -> str:
        """Take the next token; returns the text that has become whole, which may be empty."""
        self._window.append(token)
        text = self._decode(self._window)
        held = text.endswith(_REPLACEMENT) and len(self._window) < _LONGEST_WINDOW
        fresh = text[self._given : len(text) - held]
        if held:
            self._given += len(fresh)
        else:
            self._window = [token]
            self._given = len(self._decode(self._window))
        return fresh
