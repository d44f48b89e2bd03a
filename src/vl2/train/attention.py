"""Attention for training on a CPU: everything in bfloat16, written out.

Under bfloat16 autocast on a CPU the fused kernels spend more time in their backward pass than all
the rest of a small layer, and scores in float32 cost three times the memory traffic
(docs/log.md, 2026-11-22). Softmax over bfloat16 scores rounds each weight to 8 bits, which training
from scratch does not notice; inference keeps to `vl2.ops.attention`, of which this is a fast twin.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, eager_mask

NAME = "vl2_cpu_training"


def bfloat16_attention(
    module: nn.Module,  # noqa: ARG001 - the interface's signature
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    **_: Any,  # noqa: ANN401 - what other kernels take
) -> tuple[torch.Tensor, None]:
    """Attention in the calling convention of transformers' attention interface.

    Args:
        module: the attention layer.
        query: `[b, h, t, d]`.
        key: `[b, g, s, d]`; each of the `g` heads serves `h / g` query heads.
        value: `[b, g, s, v]`.
        attention_mask: additive `[b, 1, t, s]`, or None.
        scaling: factor of the scores.

    Returns:
        `[b, t, h, v]`, and no weights.
    """
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    query, key, value = (x.to(torch.bfloat16) for x in (query * scaling, key, value))
    scores = torch.matmul(query, key.transpose(2, 3))
    if attention_mask is not None:
        scores = scores + attention_mask.to(torch.bfloat16)
    mixed = torch.matmul(scores.softmax(dim=-1), value)
    return mixed.transpose(1, 2).contiguous(), None


def use_cpu_training_attention(model: PreTrainedModel) -> None:
    """Make a model attend with `bfloat16_attention` from now on."""
    AttentionInterface.register(NAME, bfloat16_attention)
    AttentionMaskInterface.register(NAME, eager_mask)
    model.set_attn_implementation(NAME)
