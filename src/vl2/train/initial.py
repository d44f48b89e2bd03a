"""Weights to start from when nothing has been trained yet.

The usual normal distribution of width 0.02 fits models a thousand units wide; a narrow one sits on
a plateau with it. Four measures shorten the start of the embedded model (docs/log.md, 2026-11-22):
weights drawn by fan-in; positions of patches that begin as sines and cosines; queries that begin
like keys, so that a patch attends to its neighbourhood and a word to its likes before anything has
been learnt (mimetic initialisation, arXiv 2305.09828); and number words that begin as waves of
their value, so that what is learnt about 120 holds for 130 too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from vl2.model.language import DeepseekVLV2LatentAttention
from vl2.model.layers import DeepseekVLV2Experts
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.model.vision import DeepseekVLV2VisionModel

_POSITION_SCALE = 0.7
_EMBEDDING_SCALE = 0.5
_LIKENESS = 0.8
_WAVES = 12
_LEFT_TO_CHANCE = 0.5
"""Share of a number word's variance that its value does not decide."""
_INTO_RESIDUAL = ("o_proj", "down_proj", "fc2", "attn.proj")
"""Layers whose output is added to the residual stream begin at half the width."""


@torch.no_grad()
def initialise(model: DeepseekVLV2ForCausalLM, numbers: Mapping[int, float]) -> None:
    """Draw all weights of a model anew, from torch's current random state.

    Args:
        model: changed in place.
        numbers: tokens that stand for a number, with their values as fractions 0..1.
    """
    for name, module in model.named_modules():
        share = 0.5 if name.endswith(_INTO_RESIDUAL) else 1.0
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=share * module.in_features**-0.5)
        elif isinstance(module, DeepseekVLV2Experts):
            for weight, part in ((module.gate_up_proj, 1.0), (module.down_proj, 0.5)):
                nn.init.trunc_normal_(weight, std=part * weight.shape[-1] ** -0.5)
    nn.init.normal_(model.model.language_model.embed_tokens.weight, std=_EMBEDDING_SCALE)
    _look_around(model.model.vision_tower)
    if numbers:
        _line_up(model.model.language_model.embed_tokens.weight, numbers)
        _line_up(model.lm_head.weight, numbers)
    for layer in model.model.language_model.layers:
        _look_for_likes(layer.get_submodule("self_attn"))


def _look_around(tower: DeepseekVLV2VisionModel) -> None:
    width = tower.config.width
    tower.pos_embed.copy_(_POSITION_SCALE * grid_waves(tower.config.patches_per_side, width))
    for block in tower.blocks:
        qkv = block.get_submodule("attn").get_submodule("qkv").get_parameter("weight")
        qkv[width : 2 * width] = qkv[:width]


def _look_for_likes(attention: nn.Module) -> None:
    """Queries that begin like keys, so that a word attends to what resembles it."""
    if not isinstance(attention, DeepseekVLV2LatentAttention):
        return
    dims = attention.dims
    up = attention.kv_b_proj.weight.view(dims.heads, dims.nope + dims.value, dims.rank)
    down = attention.kv_a_proj_with_mqa.weight[: dims.rank]
    queries = attention.q_proj.weight.view(dims.heads, dims.nope + dims.rope, -1)
    queries[:, : dims.nope] = _LIKENESS * (up[:, : dims.nope] @ down)


def _line_up(table: torch.Tensor, numbers: Mapping[int, float]) -> None:
    """Make the rows of number words alike where their values are near."""
    tokens = list(numbers)
    values = torch.tensor([numbers[token] for token in tokens], dtype=table.dtype)
    waves = torch.cos(math.pi * values[:, None] * torch.arange(1, _WAVES + 1))
    directions = torch.randn(_WAVES, table.shape[1]) * table[tokens].std() * (2 / _WAVES) ** 0.5
    chance = table[tokens] * _LEFT_TO_CHANCE**0.5
    table[tokens] = chance + (1 - _LEFT_TO_CHANCE) ** 0.5 * waves @ directions


def grid_waves(side: int, width: int) -> torch.Tensor:
    """Sines and cosines of the row and the column of each patch, `[1, side * side, width]`.

    The fastest wave turns once along the side, the slowest a tenth of that.

    Args:
        side: patches along a side.
        width: a multiple of 4.
    """
    speeds = 10.0 ** -(torch.arange(width // 4) / (width // 4))
    angles = torch.arange(side)[:, None] * (2 * math.pi / side) * speeds
    waves = torch.cat((angles.sin(), angles.cos()), dim=1)
    rows = waves[:, None].expand(side, side, -1)
    columns = waves[None].expand(side, side, -1)
    return torch.cat((rows, columns), dim=-1).reshape(1, side * side, width)
