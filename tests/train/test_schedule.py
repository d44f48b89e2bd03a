import math

import pytest

from vl2.train.recipe import Recipe
from vl2.train.schedule import learning_rate_factor


def factor(step, **settings):
    return learning_rate_factor(Recipe(name="x", steps=1000, **settings))(step)


def test_step_divides_by_root_ten_twice():
    assert factor(499, schedule="step") == 1
    assert factor(500, schedule="step") == pytest.approx(1 / math.sqrt(10))
    assert factor(749, schedule="step") == pytest.approx(1 / math.sqrt(10))
    assert factor(750, schedule="step") == pytest.approx(1 / 10)


def test_cosine_goes_from_one_to_its_end():
    settings = {"schedule": "cosine", "final_fraction": 0.1}
    assert factor(0, **settings) == 1
    assert factor(500, **settings) == pytest.approx(0.55)
    assert factor(1000, **settings) == pytest.approx(0.1)


def test_warm_up_is_linear():
    assert [factor(step, warmup_steps=4) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_constant_stays():
    assert factor(999, schedule="constant") == 1
