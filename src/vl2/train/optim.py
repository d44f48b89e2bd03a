"""Parameter groups: which weights learn how fast, and which of them decay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vl2.train.moments import AdamWWithMoments
from vl2.train.recipe import Recipe

_NEVER_TRAINED = "attn_pool."
_BETAS = (0.9, 0.95)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Parameters that learn alike.

    Attributes:
        part: `vision`, `adaptor` (projector, newline and separator), `language` or `lora`.
        decays: whether weight decay applies: to matrices, not to vectors.
        learning_rate: its peak; 0 if the group is frozen.
        parameters: its parameters.
    """

    part: str
    decays: bool
    learning_rate: float
    parameters: list[nn.Parameter]

    @property
    def frozen(self) -> bool:
        """Whether the parameters keep their values."""
        return self.learning_rate == 0

    @property
    def count(self) -> int:
        """How many numbers they are."""
        return sum(parameter.numel() for parameter in self.parameters)


def part_of(name: str) -> str:
    """The part of the model that a parameter belongs to, by its name in any learner."""
    if "lora_" in name:
        return "lora"
    if "vision_tower." in name or "encoder." in name:
        return "vision"
    if any(word in name for word in ("projector.", "image_newline", "view_seperator")):
        return "adaptor"
    return "language"


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[Group]:
    """All parameters of a model by part and by decay.

    The vision encoder of a model that answers learns at `vision_multiplier` times the learning
    rate (paper: 0.1); in stage `vision` it is the model itself and learns at the full rate.
    Frozen are the parts that the recipe names, and what the loss never reaches.
    """
    found: dict[tuple[str, bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        part = part_of(name)
        frozen = part in recipe.frozen_parts or _NEVER_TRAINED in name
        found.setdefault((part, parameter.ndim > 1, frozen), []).append(parameter)
    multiplier = 1.0 if recipe.stage == "vision" else recipe.vision_multiplier
    groups = []
    for (part, decays, frozen), parameters in found.items():
        rate = recipe.learning_rate * (multiplier if part == "vision" else 1.0)
        groups.append(Group(part, decays, 0.0 if frozen else rate, parameters))
    return groups


def freeze(groups: list[Group]) -> None:
    """Take the gradients of frozen groups away, before a model is sharded or wrapped."""
    for group in groups:
        for parameter in group.parameters:
            parameter.requires_grad_(not group.frozen)


def adamw(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW with betas (0.9, 0.95) (paper, Table 2) over the parameters that learn."""
    groups = parameter_groups(model, recipe)
    freeze(groups)
    learning = [group for group in groups if not group.frozen]
    arguments = _joined(learning, recipe)
    moments = DTYPES[recipe.moments]
    stored = {parameter.dtype for group in learning for parameter in group.parameters}
    if stored == {moments}:  # torch keeps moments in the precision of the weights
        return torch.optim.AdamW(arguments, lr=recipe.learning_rate, betas=_BETAS, fused=True)
    return AdamWWithMoments(arguments, recipe.learning_rate, _BETAS, moments)


def _joined(groups: list[Group], recipe: Recipe) -> list[dict[str, Any]]:
    """Groups as torch takes them, as few as can be: one kernel updates a group.

    Divided experts lie on another mesh of devices than all else, and no kernel spans two.
    """
    joined: dict[Any, dict[str, Any]] = {}
    for group in groups:
        decay = recipe.weight_decay if group.decays else 0.0
        for parameter in group.parameters:
            mesh = getattr(parameter, "device_mesh", None)
            key = (group.part == "vision", group.decays, mesh)
            empty = {"params": [], "lr": group.learning_rate, "weight_decay": decay}
            joined.setdefault(key, empty)["params"].append(parameter)
    return list(joined.values())
