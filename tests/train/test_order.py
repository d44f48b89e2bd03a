import pytest
from hypothesis import given
from hypothesis import strategies as st

from vl2.errors import InputError
from vl2.train.order import Mixture, Shares, Shuffled
from vl2.train.rows import Lesson


class Numbered:
    """Rows whose names are their numbers."""

    def __init__(self, name, count):
        self.name, self.count = name, count

    def __len__(self):
        return self.count

    def __call__(self, number):
        return Lesson(None, name=f"{self.name}{number}")


def test_an_order_is_a_pure_function_of_seed_epoch_and_index():
    order = Shuffled(7, 3, 1)
    first = [order.row(index) for index in range(21)]
    for epoch in range(3):
        assert sorted(first[7 * epoch : 7 * epoch + 7]) == list(range(7))
    assert len({tuple(first[7 * epoch : 7 * epoch + 7]) for epoch in range(3)}) == 3
    jumped = Shuffled(7, 3, 1)
    assert [jumped.row(index) for index in reversed(range(21))] == first[::-1]
    assert [Shuffled(7, 4, 1).row(index) for index in range(21)] != first


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any),
    st.integers(0, 5000),
    st.integers(1, 3000),
)
def test_any_window_holds_the_parts_by_their_weights(weights, start, length):
    shares = Shares(weights)
    parts = [shares.place(index)[0] for index in range(start, start + length)]
    for part, weight in enumerate(weights):
        wanted = length * weight / sum(weights)
        assert abs(parts.count(part) - wanted) < 2
        if length % sum(weights) == 0:
            assert parts.count(part) == wanted


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=5), st.integers(1, 9_000))
def test_the_first_places_round_the_shares(weights, length):
    shares = Shares(weights)
    parts = [shares.place(index)[0] for index in range(length)]
    for part, weight in enumerate(weights):
        # Shares that are no simple fractions are taken to four digits.
        error = abs(parts.count(part) - length * weight / sum(weights))
        assert error < 1 + length * 1e-4


def test_a_place_knows_how_many_of_its_part_came_before():
    shares, seen = Shares([0.7, 0.3]), [0, 0]
    for index in range(50):
        part, place = shares.place(index)
        assert place == seen[part]
        seen[part] += 1
    assert seen == [35, 15]


def test_a_mixture_goes_through_each_part_by_itself():
    mixture = Mixture([Numbered("a", 4), Numbered("b", 100)], [1, 3], seed=0)
    names = [mixture(index).name for index in range(400)]
    in_part = [name for name in names if name.startswith("a")]
    assert len(in_part) == 100
    assert all(sorted(in_part[i : i + 4]) == ["a0", "a1", "a2", "a3"] for i in range(0, 100, 4))
    assert len({name for name in names if name.startswith("b")}) == 100
    assert [mixture(index).part for index in range(4)].count(1) == 3
    assert mixture.row(mixture.number(17)).name == names[17]


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1]])
def test_impossible_weights_are_told(weights):
    with pytest.raises(InputError, match="weights"):
        Shares(weights)


@pytest.mark.parametrize("weights", [[0.99996, 0.00004], [4, 3, 0.0001, 1e-9, 7 / 3]])
def test_a_weight_that_would_never_come_is_told(weights):
    with pytest.raises(InputError, match=r"no part can have less than 0\.0001: raise it") as told:
        Shares(weights)
    assert f"the weight {next(w for w in weights if w < 0.001):g} of " in str(told.value)


def test_the_smallest_share_comes_and_a_part_without_weight_does_not():
    shares = Shares([0.9999, 0.0001, 0])
    parts = [shares.place(index)[0] for index in range(20_000)]
    assert (parts.count(1), parts.count(2)) == (2, 0)
