"""MMMU: letters and open answers (Yue et al. 2023 and the evaluation that its authors publish).

One thing differs: where a multiple-choice answer names no option, the published evaluation guesses;
here the answer counts as wrong, so that a score does not depend on luck.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_SIGNS = ",.!?;:'"
_TRIVIAL = frozenset(":,.!?;'")
_KEYS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_WITH_COMMAS = re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b")
_SCIENTIFIC = re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+")
_SIMPLE = re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])")
_SHORT_ANSWER_WORDS = 5

Answer = str | float


def chosen_letter(prediction: str, options: Mapping[str, str]) -> str | None:
    """The letter of the option that an answer names.

    `(B)` goes before `B `, `B ` before `B.`, and in answers of more than five words the text of an
    option comes last. Of several the last one named counts.

    Args:
        prediction: what the model said.
        options: texts of the options by their letters.
    """
    said = prediction
    for sign in _SIGNS:
        said = said.strip(sign)
    said = f" {said} "
    for written, found_as in (("({})", "({})"), ("{} ", " {} "), ("{}.", " {} ")):
        named = [letter for letter in options if written.format(letter) in said]
        if named:
            return _last(named, {letter: said.rfind(found_as.format(letter)) for letter in named})
    if len(said.split()) <= _SHORT_ANSWER_WORDS:
        return None
    lower = said.lower()
    named = [letter for letter, text in options.items() if text.lower() in lower]
    places = {letter: lower.rfind(options[letter].lower()) for letter in named}
    return _last(named, places) if named else None


def _last(letters: list[str], places: Mapping[str, int]) -> str:
    return max(letters, key=lambda letter: places[letter])


def is_open_match(prediction: str, answers: Iterable[str]) -> bool:
    """Whether an answer in its own words holds one of the right ones.

    Numbers are compared after rounding to two decimals, texts by containment.
    """
    right = [form for answer in answers for form in _forms(answer)]
    said = {form for part in _key_parts(prediction) for form in _part_forms(part)}
    texts = [form for form in said if isinstance(form, str)]
    return any(
        form in said if isinstance(form, float) else any(form in text for text in texts)
        for form in right
    )


def _part_forms(part: str) -> list[Answer]:
    numbers = [
        number
        for pattern in (_WITH_COMMAS, _SCIENTIFIC, _SIMPLE)
        for number in pattern.findall(part)
    ]
    return [form for text in (part, *numbers) for form in _forms(text)]


def _forms(text: str) -> list[Answer]:
    """What an answer is compared as: a rounded number, or text in lower case."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        lower = text.lower()
    # A single letter would be found in any word.
    return [f" {lower}", f"{lower} "] if len(lower) == 1 else [lower]


def _key_parts(prediction: str) -> list[str]:
    """The ends of sentences that come after words such as `is` and `answer`, else all of it."""
    said = prediction.strip().strip(".").lower()
    # The published pattern looks for capital letters in a text that it has made small.
    sentences = re.split(r"\.\s(?=[A-Z])|\n", said)
    found = []
    for index, sentence in enumerate(sentences):
        keys = (*_KEYS, "=") if index == len(sentences) - 1 else _KEYS
        ends = [sentence.split(key)[-1].strip() for key in keys if key in sentence]
        shortest = ""
        for end in ends:
            if not shortest or len(end) < len(shortest):
                shortest = end
        if shortest and shortest not in _TRIVIAL:
            found.append(shortest)
    return found or [said]
