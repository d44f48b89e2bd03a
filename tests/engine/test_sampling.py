"""The settings of an answer: what is refused, with the value."""

import json
import math

import pytest

from vl2.engine.sampling import Sampling
from vl2.errors import InputError


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"temperature": -0.1}, "temperature.* -0.1"),
        ({"temperature": math.nan}, "nan"),
        ({"temperature": math.inf}, "inf"),
        ({"temperature": "hot"}, "'hot'"),
        ({"temperature": True}, "True"),
        ({"top_p": 0.0}, "0.0"),
        ({"top_p": 1.5}, "1.5"),
        ({"top_p": math.nan}, "nan"),
        ({"max_tokens": 0}, "got 0"),
        ({"max_tokens": 1.5}, "got 1.5"),
        ({"seed": -1}, "got -1"),
        ({"seed": 2**64}, "got 18446744073709551616"),
        ({"seed": "x"}, "'x'"),
        ({"top_k": -1}, "top_k.*-1"),
        ({"top_k": 2.0}, "top_k.*2.0"),
        ({"min_p": 1.1}, "min_p.*1.1"),
        ({"repetition_penalty": 0}, "repetition_penalty.*got 0"),
        ({"repetition_penalty": math.inf}, "inf"),
        ({"frequency_penalty": 2.1}, "frequency_penalty.*2.1"),
        ({"presence_penalty": -2.1}, "presence_penalty.*-2.1"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs.*21"),
        ({"top_logprobs": 2}, "needs logprobs"),
        ({"no_repeat_ngram": -3}, "no_repeat_ngram.*-3"),
        ({"no_repeat_window": 1.5}, "no_repeat_window.*1.5"),
        ({"logit_bias": [1]}, r"\[1\]"),
        ({"logit_bias": {"word": 1}}, "'word'"),
        ({"logit_bias": {-1: 1}}, "-1: 1"),
        ({"logit_bias": {1: 101}}, "1: 101"),
        ({"logit_bias": {1: math.nan}}, "nan"),
        ({"logit_bias": dict.fromkeys(range(1025), 1)}, "got 1025"),
        ({"stop": [""]}, "''"),
        ({"stop": ["a" * 257]}, "1 to 256"),
        ({"stop": [3]}, "got 3"),
        ({"stop": 3}, "got 3"),
        ({"stop": ["a"] * 17}, "got 17"),
        ({"json_schema": "{"}, "not JSON"),
        ({"json_schema": {"a": object()}}, "not JSON"),
        ({"json_schema": "[" * 100_000}, "not JSON"),
        ({"json_schema": {"enum": ["a" * 70_000]}}, "at most 65536"),
        ({"regex": "a", "grammar": "b"}, "got regex and grammar"),
        ({"regex": 3}, "got 3"),
        ({"grammar": "x" * 70_000}, "at most 65536"),
    ],
)
def test_options_out_of_range(options: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Sampling(**options)


def test_spellings_are_made_alike() -> None:
    sampling = Sampling(stop="end", logit_bias={"7": 1}, json_schema={"type": "object"})
    assert sampling.stop == ("end",)
    assert sampling.logit_bias == {7: 1.0}
    assert json.loads(sampling.constraint[1]) == {"type": "object"}
    assert sampling == Sampling(stop=["end"], logit_bias={7: 1}, json_schema='{"type": "object"}')


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.1},
        {"logit_bias": {1: 1}},
        {"logprobs": True},
        {"no_repeat_ngram": 3},
        {"repetition_penalty": 1.1},
        {"frequency_penalty": 0.1},
        {"presence_penalty": 0.1},
        {"regex": "a"},
    ],
)
def test_what_needs_more_than_the_likeliest_token(options: dict) -> None:
    assert Sampling(stop="end", seed=3, top_k=5, top_p=0.5).is_plain
    assert not Sampling(**options).is_plain
