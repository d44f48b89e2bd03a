"""Run as a process: reads a grammar and follows it for one step, so that others need not find out.

    python -m vl2.server.trial ITEMS_IN_ROW < GRAMMAR

Ends with 0 if that came to an end, whether or not the grammar is one. Time goes into the grammar,
not into the vocabulary of a model, so the bytes are one here.
"""

from __future__ import annotations

import sys

_END = 256


class Bytes:
    """A vocabulary in the shape that llguidance asks for: one token for each byte, and an end."""

    eos_token_id = _END
    bos_token_id = None
    tokens = (*(bytes([value]) for value in range(256)), b"<end>")
    special_token_ids = (_END,)

    def __call__(self, text: bytes) -> list[int]:
        """The tokens of a text."""
        return list(text)


def main() -> None:
    """Reads and tries the grammar."""
    from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper

    vocabulary = LLTokenizer(TokenizerWrapper(Bytes()))
    limits = LLParserLimits(max_items_in_row=int(sys.argv[1]))
    matcher = LLMatcher(vocabulary, sys.stdin.read(), log_level=0, limits=limits)
    if not matcher.is_error():
        matcher.compute_bitmask()


if __name__ == "__main__":
    main()
