"""What a recipe would do on a number of devices, reckoned without weights or data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch

from vl2.errors import InputError
from vl2.model.adapters import adapter_parameters
from vl2.model.configuration import DeepseekVLV2Config, DeepseekVLV2LanguageConfig
from vl2.model.loading import load_config
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.model.released import released_config
from vl2.processing.tiling import Tiling
from vl2.train.layout import divides_weights
from vl2.train.memory import Batch, Kept, activation_bytes
from vl2.train.optim import Group, check_optimizer, parameter_groups
from vl2.train.recipe import SHAPES, Recipe

_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True, slots=True)
class GroupLine:
    """One parameter group: its part, its size, and how it learns (rate 0: frozen)."""

    part: str
    decays: bool
    parameters: int
    learning_rate: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one device.

    Attributes:
        weights: the device's share of the weights.
        gradients: its share of the gradients, in the precision of the weights.
        optimizer: its share of the moments: two with AdamW, one where Muon turns matrices.
        copies: weights that are gathered or cast for the pass: without sharding a bfloat16 copy of
            all matrices, with it two layers at a time. Devices that each hold all weights also keep
            what they send of the gradients.
        activations: what a pass of the largest rows keeps for its backward pass.
    """

    weights: int
    gradients: int
    optimizer: int
    copies: int
    activations: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.gradients + self.optimizer + self.copies + self.activations


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that one device sends in one optimizer step.

    Attributes:
        weights: gathering the shards, once forward and once backward in every pass.
        gradients: reducing the gradients to their shards, and between replicas; between devices
            that each hold all weights once a step.
        tokens: taking tokens to their experts and back, forward and backward.
    """

    weights: int
    gradients: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would be.

    Attributes:
        devices: how many.
        shards: devices among which the weights are divided; 1 if each holds all of them.
        ep_size: devices among which the routed experts are divided.
        passes: forward passes of each device per optimizer step.
        rows: rows of an optimizer step, all devices together.
        tokens: tokens of an optimizer step at most, places of pictures included.
        tiles: tiles of an optimizer step at most.
        steps: optimizer steps.
        groups: the parameter groups.
        memory: on one device.
        traffic: of one device in one optimizer step.
    """

    devices: int
    shards: int
    ep_size: int
    passes: int
    rows: int
    tokens: int
    tiles: int
    steps: int
    groups: tuple[GroupLine, ...]
    memory: Memory
    traffic: Traffic


def make_plan(recipe: Recipe, config: DeepseekVLV2Config, devices: int, *, gpu: bool) -> Plan:
    """Reckon what a recipe does on `devices` devices.

    Args:
        recipe: of one of the stages that answer.
        config: of the model.
        devices: how many processes train together.
        gpu: whether attention runs in the fused kernels of a GPU.

    Raises:
        InputError: rows, replicas or experts cannot be divided among so many devices, or the
            optimizer cannot work on weights that are.
    """
    divided = divides_weights(recipe, devices)
    if not divided:  # each device is a copy, whatever the recipe says of replicas and experts
        recipe = replace(recipe, replicas=devices, ep_size=1)
    shards = shard_count(recipe, config, devices)
    check_optimizer(recipe, divided=divided)
    passes = recipe.passes(devices)
    with torch.device("meta"):
        model = DeepseekVLV2ForCausalLM(config)
    groups = parameter_groups(model, recipe)
    batch = largest_batch(recipe, config)
    kept = Kept(recipe.gradient_checkpointing, scores=not gpu)
    adapters = adapter_parameters(config, recipe.lora_rank)
    lines = [GroupLine(g.part, g.decays, g.count, g.learning_rate) for g in groups]
    if adapters:
        lines.append(GroupLine("lora", True, adapters, recipe.learning_rate))
    rows = passes * recipe.batch_size * devices
    copies = _copies(recipe, config, groups, divided=divided)
    activations = activation_bytes(config, batch, kept)
    memory = _memory(recipe, groups, adapters, shards, copies, activations)
    if divided:
        tokens = passes * batch.rows * batch.tokens
        traffic = _traffic(recipe, config, lines, shards, tokens, passes)
    else:
        memory, traffic = _with_gradients_sent(memory, devices)
    return Plan(
        devices=devices,
        shards=shards,
        ep_size=recipe.ep_size,
        passes=passes,
        rows=rows,
        tokens=rows * batch.tokens,
        tiles=rows * batch.tiles // batch.rows,
        steps=recipe.steps,
        groups=tuple(lines),
        memory=memory,
        traffic=traffic,
    )


def shard_count(recipe: Recipe, config: DeepseekVLV2Config, devices: int) -> int:
    """Devices among which the weights are divided.

    Raises:
        InputError: the devices cannot be divided as the recipe says.
    """
    shards, rest = divmod(devices, recipe.replicas)
    if rest:
        raise InputError(
            f"In the recipe, replicas must divide the {devices} devices, got {recipe.replicas}."
        )
    language = cast("DeepseekVLV2LanguageConfig", config.language_config)
    experts = language.n_routed_experts or 1
    if shards % recipe.ep_size or experts % recipe.ep_size:
        raise InputError(
            f"In the recipe, ep_size must divide the {shards} devices that share the weights and "
            f"the {experts} experts, got {recipe.ep_size}."
        )
    return shards


def largest_batch(recipe: Recipe, config: DeepseekVLV2Config) -> Batch:
    """The pass with the most tokens and tiles that the recipe allows: rows full of pictures."""
    tiling = Tiling.from_candidates(
        config.candidate_resolutions,
        config.vision_config.patch_size,
        config.projector_config.downsample_ratio,
    ).limited(recipe.max_tiles or None)
    tokens = recipe.max_tokens
    densest = max(
        (tokens // tiling.tokens(grid)) * grid.n_tiles
        for grid in (tiling.grid(width, height) for width, height in tiling.candidates)
    )
    rows = recipe.batch_size
    return Batch(rows, tokens, rows * densest, rows * tokens)


def _memory(
    recipe: Recipe,
    groups: list[Group],
    adapters: int,
    shards: int,
    copies: int,
    activations: int,
) -> Memory:
    every = sum(group.count for group in groups)
    trained = sum(group.count for group in groups if not group.frozen)
    weight, moment = _BYTES[recipe.weights], _BYTES[recipe.moments]
    moments = sum(group.moments * group.count for group in groups if not group.frozen)
    return Memory(
        weights=math.ceil(every * weight / shards) + 4 * adapters,
        gradients=math.ceil(trained * weight / shards) + 4 * adapters,
        optimizer=math.ceil(moments * moment / shards) + 2 * moment * adapters,
        copies=copies,
        activations=activations,
    )


def _copies(
    recipe: Recipe, config: DeepseekVLV2Config, groups: list[Group], *, divided: bool
) -> int:
    weight = _BYTES[recipe.weights]
    if divided:  # the layer in use and the next one, gathered in the precision of the pass
        return 2 * _largest_layer(config, recipe.ep_size) * (2 if recipe.bf16 else weight)
    if recipe.bf16 and weight == 4:
        return 2 * sum(group.count for group in groups if group.decays)
    return 0


def _with_gradients_sent(memory: Memory, devices: int) -> tuple[Memory, Traffic]:
    """What is kept and sent where each device holds all weights: nothing but the gradients.

    torch sums them once a step, around a ring, from a second copy of them.
    """
    traffic = Traffic(0, 2 * memory.gradients * (devices - 1) // devices, 0)
    if devices > 1:
        memory = replace(memory, copies=memory.copies + memory.gradients)
    return memory, traffic


def _experts(config: DeepseekVLV2Config) -> tuple[int, int]:
    """Mixture layers, and parameters of the routed experts of one of them."""
    language = cast("DeepseekVLV2LanguageConfig", config.language_config)
    layers = range(language.num_hidden_layers)
    expert = 3 * language.hidden_size * language.moe_intermediate_size
    count = (language.n_routed_experts or 0) * expert
    return sum(language.is_moe_layer(index) for index in layers), count


def _largest_layer(config: DeepseekVLV2Config, ep_size: int) -> int:
    """Parameters of a mixture layer as one device gathers it."""
    with torch.device("meta"):
        model = DeepseekVLV2ForCausalLM(config)
    layer = model.model.language_model.layers[-1]
    every = sum(parameter.numel() for parameter in layer.parameters())
    experts = _experts(config)[1]
    return every - experts + experts // ep_size


def _traffic(
    recipe: Recipe,
    config: DeepseekVLV2Config,
    groups: list[GroupLine],
    shards: int,
    tokens: int,
    passes: int,
) -> Traffic:
    language = cast("DeepseekVLV2LanguageConfig", config.language_config)
    layers, experts = _experts(config)
    narrow = 2 if recipe.bf16 else 4
    trained = sum(group.parameters for group in groups if group.learning_rate)
    every = sum(group.parameters for group in groups)
    routed = layers * experts
    # Experts are gathered only among the devices that hold the same ones.
    gathered = (every - routed) * (shards - 1) // shards
    own = routed // recipe.ep_size
    same = shards // recipe.ep_size
    gathered += own * (same - 1) // same
    share = gathered * trained // every
    between = 2 * (trained // shards) * (recipe.replicas - 1) // recipe.replicas
    moved = tokens * (language.num_experts_per_tok or 0) * language.hidden_size * narrow * layers
    return Traffic(
        weights=2 * passes * gathered * narrow,
        gradients=passes * share * 4 + between * 4,
        tokens=4 * moved * (recipe.ep_size - 1) // recipe.ep_size,
    )


def config_of(recipe: Recipe) -> DeepseekVLV2Config:
    """The configuration that a recipe trains, from the checkpoint or, before it exists, its shape.

    Raises:
        InputError: neither tells.
    """
    if (Path(recipe.model) / "config.json").is_file():
        return load_config(recipe.model)
    name = recipe.shape or recipe.model
    if name not in SHAPES:
        raise InputError(
            f"The recipe starts from {recipe.model}, which is no folder of a model: name its shape "
            f"with --set shape=... ({', '.join(SHAPES)})."
        )
    return released_config(name)


def plan_text(recipe: Recipe, plan: Plan) -> str:
    """A plan for people, in lines of at most 80 letters."""
    memory, traffic = plan.memory, plan.traffic
    lines = [
        f"{recipe.name} on {_counted(plan.devices, 'device')}: {plan.steps} steps",
        "",
        f"An optimizer step has {_counted(plan.rows, 'row')}, at most {plan.tokens:,} tokens and "
        f"{plan.tiles:,} tiles;",
        f"{_counted(plan.passes, 'pass', 'passes')} of {_counted(recipe.batch_size, 'row')} on "
        f"each device. {_divided(plan)}",
        "",
        *_table(
            ("parameters", "count", "learning rate", "weight decay"),
            [_group_cells(recipe, group) for group in plan.groups],
        ),
        "",
        *_table(
            ("memory of a device", "GB"),
            [
                (name, f"{getattr(memory, name) / 1e9:,.2f}")
                for name in ("weights", "gradients", "optimizer", "copies", "activations", "total")
            ],
        ),
    ]
    if plan.devices > 1:
        sent = [
            (name, f"{getattr(traffic, name) / 1e9:,.2f}")
            for name in ("weights", "gradients", "tokens")
        ]
        lines += ["", *_table(("sent by a device per step", "GB"), sent)]
    return "\n".join(lines)


def _divided(plan: Plan) -> str:
    if plan.shards == 1:
        return "Each holds all weights."
    return f"Weights are divided among {plan.shards}, experts among {plan.ep_size}."


def _group_cells(recipe: Recipe, group: GroupLine) -> tuple[str, ...]:
    name = f"{group.part}, {'matrices' if group.decays else 'vectors'}"
    if not group.learning_rate:
        return f"{name}, frozen", f"{group.parameters:,}", "", ""
    decay = f"{recipe.weight_decay:g}" if group.decays else "0"
    return name, f"{group.parameters:,}", f"{group.learning_rate:g}", decay


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one}" if count == 1 else f"{count} {many or one + 's'}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A table for a terminal: names to the left, numbers to the right, a rule below the head."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = []
    for row in (head, *rows):
        first, *others = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        lines.append("   ".join(cells).rstrip())
    lines.insert(1, "─" * (sum(widths) + 3 * (len(widths) - 1)))
    return lines
