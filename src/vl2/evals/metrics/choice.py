"""Multiple choice: which option an answer names, and circular evaluation.

The rules by which VLMEvalKit reads an answer without asking another model ("exact matching"), and
CircularEval of MMBench (Liu et al. 2023, section 4.3): a question counts only if it is answered
right with its options in every rotation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

LETTERS: str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_SIGNS = ".()[],:;!*#{}"
_SEPARATORS = str.maketrans(_SIGNS, " " * len(_SIGNS))
_SPOKEN = re.compile(r"(?i)(?:correct\s+)?answer\s+is\s+\**([ABCD])\**")
_LAST_WORDS = 5
_REFUSALS = (
    "Failed to obtain answer via API",
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)


def named_option(prediction: str, options: Mapping[str, str]) -> str | None:
    """The letter of the option that an answer names.

    Args:
        prediction: what the model said.
        options: texts of the options by their letters.

    Returns:
        A letter; `None` if the answer names none, several, or says that there is none.
    """
    if any(refusal in prediction for refusal in _REFUSALS):
        return None
    words = prediction.translate(_SEPARATORS).split()
    letters = [letter for letter in options if letter in words]
    if len(letters) == 1 and words.index(letters[0]) > len(words) - _LAST_WORDS:
        return letters[0]
    if not letters and "Z" in words:
        return None
    spoken = _SPOKEN.search(prediction)
    if spoken and spoken[1].upper() in options:
        return spoken[1].upper()
    return _by_text(prediction, options)


def _by_text(prediction: str, options: Mapping[str, str]) -> str | None:
    """The only option whose text stands in the answer, unless the answer is very long."""
    if len(prediction) > 2 * sum(map(len, options.values())):
        return None
    said = prediction.lower()
    found = [letter for letter, text in options.items() if text.lower() in said]
    return found[0] if len(found) == 1 else None


def rotations(options: Sequence[str], answer: int) -> Iterator[tuple[tuple[str, ...], int]]:
    """A question's options in every rotation.

    Args:
        options: texts in order.
        answer: index of the right one.

    Yields:
        The options, and the index of the right one among them; first as given.
    """
    for shift in range(len(options)):
        turned = (*options[shift:], *options[:shift])
        yield turned, (answer - shift) % len(options)
