"""What the renderer prints: words and numbers, and which of them training never sees."""

import functools
import random
import zlib

from vl2.synth.words import WORDS

HELD_OUT_EVERY = 8
"""One string in this many belongs to the held-out class."""

_CONSONANTS = "bcdfghjklmnpqrstvwxyz"
_VOWELS = "aeiou"
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_SAME_IN_BOTH_CASES = frozenset("cosvwxz")


def is_held_out(string: str) -> bool:
    """Whether a printed string is kept for the held-out split.

    Upper and lower case count as one. A string of one or two characters never is, for there
    are too few of them: the training split prints them and the held-out split does not.
    """
    return len(string) > 2 and zlib.crc32(string.casefold().encode()) % HELD_OUT_EVERY == 0


@functools.cache
def _listed(held_out: bool) -> tuple[str, ...]:
    return tuple(word for word in WORDS if is_held_out(word) == held_out)


def _pronounceable(rng: random.Random) -> str:
    length = rng.randint(3, 8)
    vowel_next = rng.random() < 0.35
    letters = []
    for _ in range(length):
        letters.append(rng.choice(_VOWELS if vowel_next else _CONSONANTS))
        vowel_next = not vowel_next if rng.random() < 0.88 else vowel_next
    return "".join(letters)


def _letters(rng: random.Random) -> str:
    return "".join(rng.choices(_ALPHABET, k=rng.randint(3, 8)))


def _cased(rng: random.Random, word: str) -> str:
    style = rng.random()
    if style < 0.6:
        return word
    if style < 0.8:
        # A leading capital I looks like a small l in most sans-serif fonts.
        return word if word[0] == "i" else word.capitalize()
    # These letters look alike in both cases, so a word of them alone has no readable case.
    return word if _SAME_IN_BOTH_CASES.issuperset(word) else word.upper()


def word(rng: random.Random, *, held_out: bool) -> str:
    """A word of three to eight letters: half from the list, half made up.

    Args:
        rng: The source of chance.
        held_out: Whether to draw from the strings that training never prints.
    """
    if rng.random() < 0.5:
        return _cased(rng, rng.choice(_listed(held_out)))
    invent = _pronounceable if rng.random() < 0.6 else _letters
    while True:
        drawn = invent(rng)
        if is_held_out(drawn) == held_out:
            return _cased(rng, drawn)


def _any_number(rng: random.Random) -> str:
    style = rng.random()
    if style < 0.55:
        length = rng.randint(1, 6)
        first = rng.choice("123456789")
        return first + "".join(rng.choices("0123456789", k=length - 1))
    whole = str(rng.randint(0, 10 ** rng.randint(1, 3) - 1))
    if style < 0.68:
        return f"{whole}.{rng.randint(0, 99):02d}"
    if style < 0.76:
        return f"{whole}.{rng.randint(0, 9)}"
    if style < 0.88:
        cents = f".{rng.randint(0, 99):02d}" if rng.random() < 0.6 else ""
        return rng.choice("$€") + whole + cents
    if style < 0.94:
        return whole + "%"
    return f"{rng.randint(1, 99)},{rng.randint(0, 999):03d}"


def number(rng: random.Random, *, held_out: bool) -> str:
    """A number as it is printed: digits, a decimal, an amount of money or a percentage.

    Args:
        rng: The source of chance.
        held_out: Whether to draw from the strings that training never prints; those have at
            least three characters.
    """
    while True:
        drawn = _any_number(rng)
        if is_held_out(drawn) == held_out:
            return drawn


def is_number(string: str) -> bool:
    """Whether a printed string is a number rather than a word."""
    return any(character.isdigit() for character in string)
