"""Learning rate over the steps, as a factor of its peak (paper, Table 2)."""

from __future__ import annotations

import math
from collections.abc import Callable

from vl2.train.recipe import Recipe


def learning_rate_factor(recipe: Recipe) -> Callable[[int], float]:
    """The factor at each step: linear warm-up, then the recipe's schedule.

    `step` divides by sqrt(10) at 50 % and again at 75 % of the steps, as the paper's
    pre-training does; `cosine` falls to `final_fraction` of the peak.
    """

    def factor(step: int) -> float:
        if step < recipe.warmup_steps:
            return (step + 1) / recipe.warmup_steps
        done = min(1.0, step / recipe.steps)
        if recipe.schedule == "constant":
            return 1.0
        if recipe.schedule == "step":
            return 10 ** (-0.5 * ((done >= 0.5) + (done >= 0.75)))
        rest = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
        wave = 0.5 * (1 + math.cos(math.pi * min(1.0, rest)))
        return recipe.final_fraction + (1 - recipe.final_fraction) * wave

    return factor
