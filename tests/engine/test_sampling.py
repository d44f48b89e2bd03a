"""Choosing tokens: greedy, at a temperature, from the nucleus, by seed."""

import math

import pytest
import torch

from vl2.engine.sampler import Sampler
from vl2.engine.sampling import Sampling
from vl2.errors import InputError

LOGITS = torch.tensor([0.0, 3.0, 2.0, 1.0, -4.0])


def drawn(sampling: Sampling, count: int = 400, never: tuple[int, ...] = ()) -> list[int]:
    sampler = Sampler(sampling, never)
    return [sampler.choose(LOGITS) for _ in range(count)]


def test_no_temperature_takes_the_likeliest() -> None:
    assert set(drawn(Sampling())) == {1}


def test_what_must_never_come_does_not() -> None:
    assert set(drawn(Sampling(), never=(1,))) == {2}
    assert 1 not in drawn(Sampling(temperature=5.0, seed=0), never=(1,))


def test_the_logits_are_not_changed() -> None:
    before = LOGITS.clone()
    Sampler(Sampling(temperature=1.0, seed=0), never=(1,)).choose(LOGITS)
    assert torch.equal(LOGITS, before)


def test_shares_follow_the_probabilities() -> None:
    tokens = torch.tensor(drawn(Sampling(temperature=1.0, seed=1), count=4000))
    shares = tokens.bincount(minlength=5) / len(tokens)
    assert torch.allclose(shares, LOGITS.softmax(-1), atol=0.03)


def test_a_tiny_temperature_is_nearly_greedy_and_finite() -> None:
    assert set(drawn(Sampling(temperature=1e-6, seed=0))) == {1}


def test_the_nucleus_keeps_the_fewest_that_reach_top_p() -> None:
    cumulated = LOGITS.softmax(-1).sort(descending=True).values.cumsum(-1)
    between = float((cumulated[0] + cumulated[1]) / 2)
    assert set(drawn(Sampling(temperature=1.0, top_p=between, seed=0))) == {1, 2}
    assert set(drawn(Sampling(temperature=1.0, top_p=1e-9, seed=0))) == {1}


def test_a_seed_repeats_itself_and_no_seed_does_not() -> None:
    hot = Sampling(temperature=10.0, seed=7)
    assert drawn(hot) == drawn(hot)
    assert drawn(hot) != drawn(Sampling(temperature=10.0, seed=8))
    assert drawn(Sampling(temperature=10.0)) != drawn(Sampling(temperature=10.0))


def test_half_precision_logits() -> None:
    assert Sampler(Sampling()).choose(LOGITS.bfloat16()) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"temperature": -0.1}, "-0.1"),
        ({"temperature": math.nan}, "nan"),
        ({"temperature": math.inf}, "inf"),
        ({"top_p": 0.0}, "0.0"),
        ({"top_p": 1.5}, "1.5"),
        ({"top_p": math.nan}, "nan"),
        ({"max_tokens": 0}, "got 0"),
        ({"seed": -1}, "got -1"),
        ({"seed": 2**64}, "got 18446744073709551616"),
    ],
)
def test_options_out_of_range(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Sampling(**options)
