"""MathVista: the part of its evaluation that asks no other model (Lu et al. 2023).

The benchmark lets a language model take the answer out of a reply wherever simple rules do not. So
the score of the rules alone is a lower bound; how many replies they could not read is counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vl2.evals.metrics.choice import LETTERS, named_option
from vl2.evals.metrics.distance import edit_distance

QuestionType = Literal["multi_choice", "free_form"]
AnswerType = Literal["integer", "float", "list", "text"]

_QUICK = re.compile(r'The answer is "(.*)"\.')
_BRACKETED = re.compile(r"\(([a-zA-Z])\)")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is known about a question.

    Attributes:
        question_type: whether there are choices.
        answer_type: of the right answer.
        choices: texts of the choices, if there are any.
        precision: decimals of a number of type `float`.
    """

    question_type: QuestionType
    answer_type: AnswerType
    choices: tuple[str, ...] = ()
    precision: int = 1


def extract(prediction: str, problem: Problem) -> str | None:
    """Take the answer out of a reply by rules; `None` where they do not suffice."""
    said = prediction.strip()
    if problem.question_type == "multi_choice" and said in problem.choices:
        return said
    for kind, convert in (("integer", int), ("float", float)):
        if problem.answer_type == kind:
            try:
                return str(convert(said))
            except ValueError:
                break
    quick = _QUICK.search(said)
    if quick:
        return quick[1]
    if problem.question_type == "multi_choice":
        return named_option(said, dict(zip(LETTERS, problem.choices, strict=False)))
    return None


def normalise(extraction: str, problem: Problem) -> str | None:
    """Bring an answer into the form of the right one; `None` if that cannot be.

    A choice may be given by its letter; another text counts as the choice that is most like it.
    """
    if problem.question_type == "multi_choice":
        return _choice(extraction.strip(), problem.choices)
    try:
        if problem.answer_type == "integer":
            return str(int(float(extraction)))
        if problem.answer_type == "float":
            return str(round(float(extraction), problem.precision))
    except (ValueError, OverflowError):
        return None
    return extraction


def is_right(prediction: str, answer: str, problem: Problem) -> bool:
    """Whether a reply, as far as the rules can read it, gives the right answer."""
    extraction = extract(prediction, problem)
    if extraction is None:
        return False
    said = normalise(extraction, problem)
    return said is not None and said.strip() == answer.strip()


def _choice(text: str, choices: Sequence[str]) -> str | None:
    bracketed = _BRACKETED.search(text)
    letter = bracketed[1].upper() if bracketed else text
    letters = LETTERS[: len(choices)]
    if len(letter) == 1 and letter in letters:
        return choices[letters.index(letter)]
    return min(choices, key=lambda choice: edit_distance(letter, choice), default=None)
