"""Choosing tokens: greedy, at a temperature, among few, with penalties, by seed."""

import pytest
import torch

from vl2.engine.sampler import Sampler, repeating
from vl2.engine.sampling import Sampling
from vl2.errors import EngineError

LOGITS = torch.tensor([0.0, 3.0, 2.0, 1.0, -4.0])
CLOSE = torch.tensor([1.0, 1.1, 1.2, -9.0])


def drawn(sampling: Sampling, count: int = 400, logits: torch.Tensor = LOGITS) -> list[int]:
    sampler = Sampler(sampling)
    return [sampler.choose(logits) for _ in range(count)]


def shares(tokens: list[int]) -> torch.Tensor:
    return torch.tensor(tokens).bincount(minlength=len(LOGITS)) / len(tokens)


def test_no_temperature_takes_the_likeliest() -> None:
    assert set(drawn(Sampling())) == {1}


def test_what_must_never_come_does_not() -> None:
    logits = LOGITS.index_fill(0, torch.tensor([1]), -torch.inf)
    assert set(drawn(Sampling(), logits=logits)) == {2}
    assert 1 not in drawn(Sampling(temperature=5.0, seed=0), logits=logits)


def test_the_logits_are_not_changed() -> None:
    before = LOGITS.clone()
    options = {"logit_bias": {1: 5}, "repetition_penalty": 2.0, "no_repeat_ngram": 1}
    Sampler(Sampling(temperature=1.0, seed=0, **options), [2]).choose(LOGITS, [3])
    assert torch.equal(LOGITS, before)


def test_shares_follow_the_probabilities() -> None:
    tokens = drawn(Sampling(temperature=1.0, seed=1), count=4000)
    assert torch.allclose(shares(tokens), LOGITS.softmax(-1), atol=0.03)


def test_a_tiny_temperature_is_nearly_greedy_and_finite() -> None:
    assert set(drawn(Sampling(temperature=1e-6, seed=0))) == {1}


@pytest.mark.parametrize("least", [{"temperature": 5e-324}, {"temperature": 1.0, "top_p": 5e-324}])
def test_settings_that_float32_does_not_know_take_the_likeliest(least) -> None:
    assert set(drawn(Sampling(seed=0, **least))) == {1}


@pytest.mark.parametrize("penalty", [0.01, 100])
def test_the_strongest_penalties_leave_scores_that_can_be_drawn_from(penalty) -> None:
    logits = LOGITS.index_fill(0, torch.tensor([4]), -torch.inf)
    for temperature in (0.0, 1.0):
        sampling = Sampling(temperature=temperature, repetition_penalty=penalty, seed=0)
        assert Sampler(sampling, range(5)).choose(logits, [0, 4]) < 4


def test_the_nucleus_keeps_the_fewest_that_reach_top_p() -> None:
    cumulated = LOGITS.softmax(-1).sort(descending=True).values.cumsum(-1)
    between = float((cumulated[0] + cumulated[1]) / 2)
    assert set(drawn(Sampling(temperature=1.0, top_p=between, seed=0))) == {1, 2}
    assert set(drawn(Sampling(temperature=1.0, top_p=1e-9, seed=0))) == {1}


def test_a_nucleus_of_a_flat_distribution_is_wide() -> None:
    flat = torch.zeros(2000)
    tokens = drawn(Sampling(temperature=1.0, top_p=0.5, seed=0), count=4000, logits=flat)
    assert 900 < len(set(tokens)) <= 1000


def test_top_k_keeps_the_likeliest_and_their_proportions() -> None:
    tokens = drawn(Sampling(temperature=1.0, top_k=2, seed=0), count=4000)
    assert set(tokens) == {1, 2}
    assert shares(tokens)[1] == pytest.approx(float(torch.tensor(1.0).sigmoid()), abs=0.03)
    assert set(drawn(Sampling(temperature=1.0, top_k=99, seed=0), count=4000)) == {0, 1, 2, 3, 4}


def test_min_p_keeps_tokens_by_their_share_of_the_likeliest() -> None:
    share = float(torch.tensor(-1.5).exp())  # between those of tokens 2 and 3
    assert set(drawn(Sampling(temperature=1.0, min_p=share, seed=0))) == {1, 2}
    assert set(drawn(Sampling(temperature=1.0, min_p=1.0, seed=0))) == {1}


def test_a_seed_repeats_itself_and_no_seed_does_not() -> None:
    hot = Sampling(temperature=10.0, seed=7)
    assert drawn(hot) == drawn(hot)
    assert drawn(hot) != drawn(Sampling(temperature=10.0, seed=8))
    assert drawn(Sampling(temperature=10.0)) != drawn(Sampling(temperature=10.0))


def test_half_precision_logits() -> None:
    assert Sampler(Sampling()).choose(LOGITS.bfloat16()) == 1


def test_logit_bias() -> None:
    assert set(drawn(Sampling(logit_bias={1: -100}))) == {2}
    assert set(drawn(Sampling(logit_bias={"4": 100, 1: 50}))) == {4}


def test_the_repetition_penalty_counts_prompt_and_answer_once() -> None:
    sampling = Sampling(repetition_penalty=2.0)
    assert Sampler(sampling, prompt=[1]).choose(LOGITS) == 2
    assert Sampler(sampling).choose(LOGITS, [1, 1, 1]) == 2
    assert Sampler(sampling, prompt=[1]).choose(LOGITS, [2, 1]) == 1
    # A negative score is multiplied, or a penalty would be a reward.
    negative = torch.tensor([-3.0, -1.0, -1.5])
    assert Sampler(sampling, prompt=[1]).choose(negative) == 2


def test_frequency_and_presence_penalties_count_the_answer() -> None:
    assert Sampler(Sampling(frequency_penalty=0.3), [1, 1, 1, 1]).choose(LOGITS) == 1
    assert Sampler(Sampling(frequency_penalty=0.3)).choose(LOGITS, [1, 1, 1]) == 1
    assert Sampler(Sampling(frequency_penalty=0.3)).choose(LOGITS, [1, 1, 1, 1]) == 2
    assert Sampler(Sampling(presence_penalty=0.5)).choose(CLOSE, [2, 2]) == 1
    assert Sampler(Sampling(presence_penalty=0.05)).choose(CLOSE, [2] * 9) == 2
    assert Sampler(Sampling(presence_penalty=-2.0)).choose(CLOSE, [0]) == 0


def test_the_loop_guard_bans_what_would_repeat_a_run() -> None:
    guard = Sampling(no_repeat_ngram=3)
    assert Sampler(guard).choose(LOGITS, [2, 3, 1, 0, 2, 3]) == 2
    assert Sampler(guard).choose(LOGITS, [2, 3, 1, 0, 3, 2]) == 1
    assert Sampler(Sampling()).choose(LOGITS, [2, 3, 1, 0, 2, 3]) == 1
    assert (
        Sampler(Sampling(no_repeat_ngram=3, no_repeat_window=5)).choose(LOGITS, [2, 3, 1, 0, 2, 3])
        == 1
    )


def test_runs_that_would_repeat() -> None:
    assert repeating([7, 8, 9, 7, 8], 3, 0) == [9]
    assert repeating([7, 8, 9, 7, 8, 5, 7, 8], 3, 0) == [9, 5]
    assert repeating([7, 8, 9, 7, 8, 5, 7, 8], 3, 5) == [5]
    assert repeating([7, 8, 7], 1, 2) == [8, 7]
    assert repeating([7, 7], 2, 0) == [7]
    assert repeating([7], 2, 0) == []
    assert repeating([], 1, 0) == []


def test_nothing_left_to_choose_is_an_error() -> None:
    with pytest.raises(EngineError, match="no token to choose"):
        Sampler(Sampling(no_repeat_ngram=1)).choose(LOGITS, [0, 1, 2, 3, 4])
    with pytest.raises(EngineError, match="no token to choose"):
        Sampler(Sampling(no_repeat_ngram=1, temperature=1.0)).choose(LOGITS, [0, 1, 2, 3, 4])
