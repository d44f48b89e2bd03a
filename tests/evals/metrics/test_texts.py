"""Metrics of texts, by hand: edit distance, error rates, ANLS, relaxed accuracy, VQA, OCRBench."""

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from vl2.evals.metrics import distance, ocrbench
from vl2.evals.metrics.anls import anls
from vl2.evals.metrics.relaxed import is_relaxed_match
from vl2.evals.metrics.vqa import normalise, vqa_accuracy


def test_edit_distance_by_hand():
    assert distance.edit_distance("kitten", "sitting") == 3
    assert distance.edit_distance("", "abc") == distance.edit_distance("abc", "") == 3
    assert distance.edit_distance(["a", "b"], ["a", "c", "b"]) == 1
    assert distance.normalised_distance("ab", "abcd") == 0.5
    assert distance.normalised_distance("", "") == 0


@given(st.text(max_size=12), st.text(max_size=12))
def test_edit_distance_as_rapidfuzz(a, b):
    assert distance.edit_distance(a, b) == Levenshtein.distance(a, b)


def test_error_rates_by_hand():
    pairs = [("the cat", "the bat"), ("sat", "sat down")]
    # One of 7 characters, then 5 more than the 3: 6 of 10. One of 2 words, then 1 more: 2 of 3.
    assert distance.character_error_rate(pairs) == pytest.approx(0.6)
    assert distance.word_error_rate(pairs) == pytest.approx(2 / 3)
    assert distance.word_error_rate([]) == 0
    assert distance.word_error_rate([("", "a b")]) == 1


@given(
    st.lists(
        st.tuples(
            st.text("ab c", min_size=1, max_size=9).filter(str.strip), st.text("ab c", max_size=9)
        ),
        min_size=1,
        max_size=4,
    )
)
def test_error_rates_as_jiwer(pairs):
    tidy = [(" ".join(a.split()), " ".join(b.split())) for a, b in pairs]
    references, said = map(list, zip(*tidy, strict=True))
    assert distance.word_error_rate(tidy) == pytest.approx(jiwer.wer(references, said))
    assert distance.character_error_rate(tidy) == pytest.approx(jiwer.cer(references, said))


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        ("1971", ["1971"], 1),
        ("  ITC   Limited ", ["itc limited"], 1),
        ("itc ltd", ["ITC Limited", "ITC Ltd"], 1),
        ("hallo", ["hello"], 0.8),  # one letter of five
        ("abcd", ["abxy"], 0.5),  # just enough
        ("abc", ["axyz"], 0),  # 0.25 is less than half
        ("", ["abc"], 0),
        ("", [""], 1),
        ("a  b", ["a b"], 1),
        ("ax", ["a  "], 1 - 1 / 3),  # spaces count for the length alone
        ("ßx", ["ß"], 1 - 1 / 3),  # SSX: three capitals
    ],
)
def test_anls(prediction, answers, expected):
    assert anls(prediction, answers) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("prediction", "answer", "right"),
    [
        ("10.5", "10", True),
        ("10.51", "10", False),
        ("9.5", "10", True),
        ("-95", "-100", True),
        ("95", "-100", False),
        ("50%", "0.5", True),
        ("52%", "0.5", True),
        ("0.5", "50", False),
        ("Blue", "blue", True),
        ("light blue", "blue", False),
        ("0", "0", True),
        ("0.0", "0", False),  # no tolerance around nothing
        ("0.01", "0", False),
        ("ten", "10", False),
        ("10", "Ten", False),
        ("", "10", False),
    ],
)
def test_relaxed_accuracy(prediction, answer, right):
    assert is_relaxed_match(prediction, answer) is right


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The Cat.", "cat"),
        ("a dog and a cat", "dog and cat"),
        ("Two", "2"),
        ("none", "0"),
        ("dont", "don't"),
        ("couldntve", "couldntve"),
        ("couldn'tve", "couldn't've"),
        ("1,000", "1000"),
        ("3.5", "3.5"),
        ("3.", "3"),
        ("u.s.a", "usa"),
        ("black/white", "black white"),
        ("black / white", "black  white".replace("  ", " ")),
        ("(stop)", "stop"),
        ("what?", "what"),
        ("dog's", "dog 's"),
        ("it\nis\tred", "it is red"),
    ],
)
def test_normalisation_of_answers(answer, expected):
    assert normalise(answer) == expected


def test_vqa_accuracy_by_hand():
    people = ["yes"] * 2 + ["no"] * 8
    # Leaving out a yes leaves one (1/3), leaving out a no leaves two (2/3): (2/3 + 16/3) / 10.
    assert vqa_accuracy("Yes.", people) == pytest.approx(0.6)
    assert vqa_accuracy("no", people) == 1
    assert vqa_accuracy("maybe", people) == 0
    assert vqa_accuracy("a stop", ["stop"] * 4) == 1
    assert vqa_accuracy("stop", ["stop"] * 3) == pytest.approx(2 / 3)


def test_ocrbench():
    assert ocrbench.contains_answer(
        "It reads RED CROSS, I think", ["red cross"], "Doc-oriented VQA"
    )
    assert ocrbench.contains_answer("x", ["nothing", "X"], "Scene Text-centric VQA")
    assert not ocrbench.contains_answer("red  cross", ["red cross"], "Doc-oriented VQA")
    for category in (ocrbench.HANDWRITTEN_MATHS, "HME100k"):
        assert ocrbench.contains_answer("\\frac { a } {b}", ["\\frac{a}{b}"], category)
        assert not ocrbench.contains_answer("\\frac{A}{b}", ["\\frac{a}{b}"], category)
