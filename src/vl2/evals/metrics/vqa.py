"""VQA accuracy with the normalisation of answers, the metric of VQA v2 and TextVQA.

Antol et al. 2015, "VQA: Visual Question Answering", and the evaluation that its authors publish, in
the form that TextVQA uses. It takes punctuation, articles and spellings of numbers and
contractions out of the comparison.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten".split()  # noqa: SIM905
    )
} | {"none": "0"}
_ARTICLES = frozenset({"a", "an", "the"})
_PUNCTUATION = ';/[]"{}()=+\\_-><@`!'

_SINGLE = """
    ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's
    how'd how'll how's isn't it'd it'll ma'am mightn't might've mustn't must've needn't not've
    o'clock oughtn't shan't should've shouldn't somebody'll somebody's someone'd someone'll
    someone's something'd something'll that's there'd there're there's they'd they'll they're
    they've 'twas wasn't we've weren't what'll what're what's what've when's where'd where's
    where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd
    you'll you're you've
""".split()  # noqa: SIM905
_DOUBLE = """
    couldn't've hadn't've he'd've it'd've mightn't've she'd've shouldn't've somebody'd've
    someone'd've something'd've there'd've they'd've we'd've who'd've wouldn't've you'd've
""".split()  # noqa: SIM905


def _without(word: str, index: int) -> str:
    """A word without its apostrophe of that index."""
    parts = word.split("'")
    return "'".join([*parts[:index], parts[index] + parts[index + 1], *parts[index + 2 :]])


_CONTRACTIONS = {
    **{word.replace("'", ""): word for word in _SINGLE},
    **{_without(word, index): word for word in _DOUBLE for index in (0, 1)},
    # Odd ones of the published table; a rule would give something else.
    "somebody'd": "somebodyd",
    "ow's'at": "'ow's'at",
    "'ows'at": "'ow's'at",
    "'ow'sat": "'ow's'at",
    "yall'll": "y'all'll",
    "y'allll": "y'all'll",
    "yall'd've": "y'all'd've",
    "y'alld've": "y'all'd've",
    "y'all'dve": "y'all'd've",
}

_PERIOD = re.compile(r"\.(?!\d)")
_MOST_PERIODS = 32
"""The published code hands a flag to `re.sub` where it takes the number of replacements."""


def vqa_accuracy(prediction: str, answers: Sequence[str]) -> float:
    """Agreement with what people answered, 0 to 1.

    An answer that three of the other people gave is wholly right; the mean is taken over leaving
    each of the people out.

    Args:
        prediction: what the model said.
        answers: of several people, ten as a rule.
    """
    said = normalise(prediction)
    right = [normalise(answer) for answer in answers]
    hits = sum(answer == said for answer in right)
    return sum(min(1.0, (hits - (answer == said)) / 3) for answer in right) / len(right)


def normalise(answer: str) -> str:
    """An answer in the form in which answers are compared."""
    text = answer.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = text.replace("\n", " ").replace("\t", " ").strip()
    text = _without_punctuation(text)
    words = [_NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def _without_punctuation(text: str) -> str:
    """Punctuation beside a space goes, other punctuation becomes a space."""
    plain = text
    for sign in _PUNCTUATION:
        beside_space = sign + " " in text or " " + sign in text
        plain = plain.replace(sign, "" if beside_space else " ")
    return _PERIOD.sub("", plain, count=_MOST_PERIODS)
