"""Options, rotations, MMMU, MME and MathVista, by hand."""

import pytest

from vl2.evals.metrics import mathvista, mme, mmmu
from vl2.evals.metrics.choice import named_option, rotations
from vl2.evals.metrics.mathvista import Problem

COLOURS = {"A": "red", "B": "dark blue", "C": "green", "D": "blue"}


@pytest.mark.parametrize(
    ("prediction", "letter"),
    [
        ("B", "B"),
        ("B.", "B"),
        ("(B)", "B"),
        ("B. dark blue", "B"),
        ("The answer is C", "C"),
        ("The correct answer is **D**. The sky is like that on clear days", "D"),
        ("It is green", "C"),
        ("A or B", None),
        ("blue", "D"),
        ("dark blue", None),  # also holds blue
        ("", None),
        ("E", None),
        ("Z", None),
        ("Cannot determine the answer", None),
        ("B is what I would say if you asked me about this", None),  # named too early
        ("green " * 20, None),  # too long to be an answer
    ],
)
def test_the_option_that_an_answer_names(prediction, letter):
    assert named_option(prediction, COLOURS) == letter


def test_rotations_keep_the_right_text():
    turned = list(rotations(["x", "y", "z"], 1))
    assert turned[0] == (("x", "y", "z"), 1)
    assert [options[answer] for options, answer in turned] == ["y"] * 3
    assert {options for options, _ in turned} == {("x", "y", "z"), ("y", "z", "x"), ("z", "x", "y")}


@pytest.mark.parametrize(
    ("prediction", "letter"),
    [
        ("B", "B"),
        ("(C)", "C"),
        ("A. Because (D)", "D"),  # brackets go first
        ("first A then B ", "B"),  # the last one named
        ("The colour that I see here is green", "C"),
        ("green", None),  # too short to be read as an explanation
        ("", None),
    ],
)
def test_mmmu_letters(prediction, letter):
    assert mmmu.chosen_letter(prediction, COLOURS) == letter


@pytest.mark.parametrize(
    ("prediction", "answers", "right"),
    [
        ("The answer is 3.14", ["3.14"], True),
        ("so x = 1,234", ["1234"], True),
        ("2e3", ["2000"], True),
        ("0.333333", ["0.33"], True),
        ("about 7 apples", ["8"], False),
        ("It is the mitochondrion.", ["Mitochondrion"], True),
        ("xylophone", ["x"], False),  # a lone letter needs a space beside it
        ("value x or y", ["x"], True),
        ("first\nthe result is 12", ["12"], True),
        ("is 3\nthe result is 12", ["3"], True),
        ("nothing", ["cat", "nothing"], True),
    ],
)
def test_mmmu_open_answers(prediction, answers, right):
    assert mmmu.is_open_match(prediction, answers) is right


@pytest.mark.parametrize(
    ("prediction", "said"),
    [("Yes", "yes"), ("no.", "no"), (" NO, it", "no"), ("It is", None), ("", None), ("not", "no")],
)
def test_yes_or_no(prediction, said):
    assert mme.yes_or_no(prediction) == said


def test_mme_scores_by_hand():
    rows = [
        ("count", "1.jpg", True),
        ("count", "1.jpg", True),
        ("count", "2.jpg", True),
        ("count", "2.jpg", False),
        ("code_reasoning", "3.jpg", False),
        ("code_reasoning", "3.jpg", True),
    ]
    scores = mme.mme_scores(mme.Outcome(*row) for row in rows)
    # count: 3 of 4 right, 1 of 2 pictures: 75 + 50. code: 1 of 2 and no picture: 50.
    assert scores["count"] == 125
    assert scores["code_reasoning"] == 50
    assert (scores["perception"], scores["cognition"], scores["total"]) == (125, 50, 175)
    assert len(mme.PERCEPTION) * 200 + len(mme.COGNITION) * 200 == 2800


CHOICES = Problem("multi_choice", "text", ("3/11", "8/11", "6/11"))


@pytest.mark.parametrize(
    ("prediction", "answer", "problem", "right"),
    [
        ("8/11", "8/11", CHOICES, True),
        ("(B) 8/11", "8/11", CHOICES, True),
        ("B", "8/11", CHOICES, True),
        ("A", "8/11", CHOICES, False),
        ("cannot say", "8/11", CHOICES, False),
        ('The answer is "8/1".', "8/11", CHOICES, True),  # the choice that is most like it
        ("14", "14", Problem("free_form", "integer"), True),
        ("14.0", "14", Problem("free_form", "integer"), False),  # needs a judge
        ('The answer is "14.0".', "14", Problem("free_form", "integer"), True),
        ("1.449", "1.45", Problem("free_form", "float", precision=2), True),
        ("1.4", "1.45", Problem("free_form", "float", precision=2), False),
        ('The answer is "many".', "3", Problem("free_form", "integer"), False),
        ('The answer is "inf".', "3", Problem("free_form", "integer"), False),
        ('The answer is "[1, 2]".', "[1, 2]", Problem("free_form", "list"), True),
        ("It is 14, I think", "14", Problem("free_form", "integer"), False),
    ],
)
def test_mathvista_rules(prediction, answer, problem, right):
    assert mathvista.is_right(prediction, answer, problem) is right


def test_mathvista_tells_what_the_rules_cannot_read():
    assert mathvista.extract("It is 14, I think", Problem("free_form", "integer")) is None
    assert mathvista.extract("14", Problem("free_form", "integer")) == "14"
