"""Parameter groups: which weights learn how fast, and which of them decay."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from vl2.train.recipe import Recipe

_VISION_PARTS = ("vision_tower.", "encoder.")
_NEVER_TRAINED = ("attn_pool.", "e_score_correction_bias")


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Groups for AdamW by part and by decay; matrices decay, vectors do not.

    The vision encoder of a model that answers learns at `vision_multiplier` times the learning
    rate (paper: 0.1); in stage `vision` it is the model itself and learns at the full rate.
    Parameters that the loss never reaches are left out and frozen.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        is_vision = any(part in name for part in _VISION_PARTS)
        frozen = any(part in name for part in _NEVER_TRAINED)
        if frozen or (is_vision and recipe.freeze_vision):
            parameter.requires_grad_(False)
            continue
        groups.setdefault((is_vision, parameter.ndim > 1), []).append(parameter)
    multiplier = 1.0 if recipe.stage == "vision" else recipe.vision_multiplier
    return [
        {
            "params": parameters,
            "lr": recipe.learning_rate * (multiplier if is_vision else 1.0),
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for (is_vision, decays), parameters in groups.items()
    ]


def adamw(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW with betas (0.9, 0.95) (paper, Table 2) over `parameter_groups`."""
    groups = parameter_groups(model, recipe)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95), fused=True)
