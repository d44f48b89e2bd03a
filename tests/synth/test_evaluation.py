import pytest

from vl2.errors import InputError
from vl2.evals.judging import judge
from vl2.synth import EVALUATED, heldout


@pytest.mark.parametrize("task", EVALUATED)
def test_held_out_questions_are_distinct_pictures_that_their_own_answers_satisfy(task):
    items = heldout(task, 40)
    assert len(items) == 40
    if task != "text_only":
        assert len({of.images[0].tobytes() for of, _ in items}) == 40
    for of, turn in items:
        assert turn.task == task
        assert judge(turn, turn.answer, of)
        assert judge(turn, f" {turn.answer}\n", of)
        assert not judge(turn, "", of)
        assert not judge(turn, "I do not know.", of)


def test_held_out_questions_are_the_same_at_every_call():
    assert [turn for _, turn in heldout("word", 5)] == [turn for _, turn in heldout("word", 9)][:5]


def test_unknown_tasks_are_refused():
    with pytest.raises(InputError, match="juggling"):
        heldout("juggling", 1)


def test_yes_and_no_are_balanced():
    for task in ("existence", "relation"):
        yes = sum(turn.answer == "yes" for _, turn in heldout(task, 300))
        assert 105 < yes < 195
