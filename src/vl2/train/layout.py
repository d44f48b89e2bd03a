"""How the weights of a run lie on its devices: divided among them, or whole on each."""

from __future__ import annotations

from vl2.train.recipe import Recipe


def divides_weights(recipe: Recipe, devices: int) -> bool:
    """Whether each of `devices` devices holds a share of the weights.

    They are held whole beside adapters, and where labels of patches are learnt: such models are
    small. `replicas` and `ep_size` say nothing then.
    """
    whole = recipe.lora_rank or recipe.naming_weight or recipe.stage == "vision"
    return devices > 1 and not whole
