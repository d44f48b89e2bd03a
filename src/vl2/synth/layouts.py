"""How a document or a chart looks: combinations of features, some kept for the held-out split."""

import random
from collections.abc import Mapping

from vl2.synth.strings import is_held_out

Features = Mapping[str, tuple[str, ...]]
"""What can be chosen, by the name of the feature."""


def is_held_out_layout(layout: Mapping[str, str]) -> bool:
    """Whether a combination is kept for the held-out split; each feature alone is in training."""
    return is_held_out("|".join(f"{name} {layout[name]}" for name in sorted(layout)))


def layout(rng: random.Random, features: Features, *, held_out: bool) -> dict[str, str]:
    """A value of each feature, so that the combination is one of the split's."""
    while True:
        drawn = {name: rng.choice(values) for name, values in features.items()}
        if is_held_out_layout(drawn) == held_out:
            return drawn
