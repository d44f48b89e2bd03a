"""Softmax attention written out: reference for the fused kernels, and the one with weights."""

from typing import Any

import torch
from torch import nn

from vl2.ops.mla import masked_softmax


def eager_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,  # noqa: ANN401 - what other kernels take
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention in the calling convention of transformers' attention interface.

    Args:
        module: the attention layer, for `training`.
        query: `[b, h, t, d]`.
        key: `[b, g, s, d]`; each of the `g` heads serves `h / g` query heads.
        value: `[b, g, s, v]`.
        attention_mask: boolean or additive `[b, 1, t, s]`, or None.
        scaling: factor of the scores.
        dropout: probability of dropping a weight while training.

    Returns:
        `[b, t, h, v]` and the weights `[b, h, t, s]`.
    """
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    # The scale goes onto the query: in float16 the products could pass 65504 otherwise.
    scores = torch.matmul(query * scaling, key.transpose(2, 3)).to(torch.float32)
    weights = masked_softmax(scores, attention_mask).to(value.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights
