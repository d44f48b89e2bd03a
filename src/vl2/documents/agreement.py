"""How far a reading and a text layer say the same."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

DISAGREES = 0.8
"""Pages below this agreement are flagged."""

# Scripts that part no words: Thai, Lao, Myanmar, Khmer, kana, and Chinese characters.
_UNPARTED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_UNPARTED}]|[^\W{_UNPARTED}]+")


def agreement(reading: str, layer: str) -> float:
    """The share of words that both have, 0 to 1: the harmonic mean of both sides' shares (F1).

    Words are compared without case, in any order, for a text layer often has another order; how
    often a word comes counts. In scripts that part no words, each character counts as one.
    """
    said, printed = _words(reading), _words(layer)
    both = sum((said & printed).values())
    most = sum(said.values()) + sum(printed.values())
    return 2 * both / most if most else 1.0


def _words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))
