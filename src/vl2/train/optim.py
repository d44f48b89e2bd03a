"""Parameter groups: which weights learn how fast, and which of them decay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vl2.errors import InputError
from vl2.train.moments import AdamWWithMoments
from vl2.train.muon import Muon
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
        matrices: stacked in the rows of each parameter, where Muon turns them; else 0.
        learning_rate: its peak; 0 if the group is frozen.
        parameters: its parameters.
    """

    part: str
    decays: bool
    matrices: int
    learning_rate: float
    parameters: list[nn.Parameter]

    @property
    def frozen(self) -> bool:
        """Whether the parameters keep their values."""
        return self.learning_rate == 0

    @property
    def moments(self) -> int:
        """How many numbers an optimizer keeps for each of them."""
        return 1 if self.matrices else 2

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


def matrices_of(name: str) -> int:
    """How many matrices inside of layers a parameter stacks in its rows, by its name.

    0 for what is no such matrix: embeddings, output layers, routers, adapters.
    """
    is_inside = "blocks." in name or "layers." in name
    if not is_inside or "mlp.gate.weight" in name or "lora_" in name:
        return 0
    return 3 if ".qkv." in name else 2 if name.endswith("gate_up_proj") else 1


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[Group]:
    """All parameters of a model by part, by decay and by what updates them.

    The vision encoder of a model that answers learns at `vision_multiplier` times the learning
    rate (paper: 0.1); in stage `vision` it is the model itself and learns at the full rate.
    Frozen are the parts that the recipe names, and what the loss never reaches.
    """
    found: dict[tuple[str, bool, int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        part = part_of(name)
        frozen = part in recipe.frozen_parts or _NEVER_TRAINED in name
        is_turned = recipe.optimizer == "muon" and parameter.ndim > 1
        matrices = matrices_of(name) if is_turned else 0
        found.setdefault((part, parameter.ndim > 1, matrices, frozen), []).append(parameter)
    multiplier = 1.0 if recipe.stage == "vision" else recipe.vision_multiplier
    groups = []
    for (part, decays, matrices, frozen), parameters in found.items():
        rate = recipe.learning_rate * (multiplier if part == "vision" else 1.0)
        groups.append(Group(part, decays, matrices, 0.0 if frozen else rate, parameters))
    return groups


def freeze(groups: list[Group]) -> None:
    """Take the gradients of frozen groups away, before a model is sharded or wrapped."""
    for group in groups:
        for parameter in group.parameters:
            parameter.requires_grad_(not group.frozen)


def check_optimizer(recipe: Recipe, *, divided: bool) -> None:
    """Refuse an optimizer that cannot work on weights that are divided among devices.

    Copies of a model in `replicas` are held as divided ones are, even where each has one device.

    Raises:
        InputError: Muon for a model whose matrices are divided.
    """
    if divided and recipe.optimizer == "muon":
        raise InputError(
            "In the recipe, optimizer is muon, which turns whole matrices, and several devices "
            "divide them, with replicas or without: set optimizer to adamw, or train on one device."
        )


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over the parameters that learn.

    AdamW has betas (0.9, 0.95) (paper, Table 2).

    Raises:
        InputError: Muon for a model whose matrices are divided among devices.
    """
    divided = any(hasattr(parameter, "device_mesh") for parameter in model.parameters())
    check_optimizer(recipe, divided=divided)
    groups = parameter_groups(model, recipe)
    freeze(groups)
    learning = [group for group in groups if not group.frozen]
    arguments = _joined(learning, recipe)
    moments = DTYPES[recipe.moments]
    if recipe.optimizer == "muon":
        return Muon(arguments, recipe.learning_rate, _BETAS, moments)
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
            key = (group.part == "vision", group.decays, group.matrices, mesh)
            empty = {"params": [], "lr": group.learning_rate, "weight_decay": decay}
            empty["matrices"] = group.matrices
            joined.setdefault(key, empty)["params"].append(parameter)
    return list(joined.values())
