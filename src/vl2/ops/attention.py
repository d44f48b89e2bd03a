"""Softmax attention: written out (the reference, and the one with weights) and compiled."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from vl2.ops.kernels import products
from vl2.ops.kernels.library import fast_library
from vl2.ops.mla import masked_softmax

# Packing the keys for the compiled kernel pays from about here on.
_FEWEST_QUERIES = 16

AttentionFunction = Callable[..., tuple[torch.Tensor, torch.Tensor | None]]


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
        module: the attention layer, for `training` and `is_causal`.
        query: `[b, h, t, d]`.
        key: `[b, g, s, d]`; each of the `g` heads serves `h / g` query heads.
        value: `[b, g, s, v]`.
        attention_mask: boolean or additive `[b, 1, t, s]`. With None a causal layer lets query `i`
            see the first `i + 1` keys, any other layer lets it see all.
        scaling: factor of the scores.
        dropout: probability of dropping a weight while training.

    Returns:
        `[b, t, h, v]` and the weights `[b, h, t, s]`.
    """
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    queries, keys = query.shape[2], key.shape[2]
    if attention_mask is None and module.is_causal and queries > 1:
        allowed = torch.ones(queries, keys, dtype=torch.bool, device=query.device)
        attention_mask = allowed.tril()
    # The scale goes onto the query: in float16 the products could pass 65504 otherwise.
    scores = torch.matmul(query * scaling, key.transpose(2, 3))
    weights = masked_softmax(scores, attention_mask).to(value.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


def compiled_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    scaling: float,
    **_: Any,  # noqa: ANN401 - what other kernels take
) -> tuple[torch.Tensor, None]:
    """As `eager_attention`, by the compiled kernels: bfloat16, no mask, no weights, no gradient."""
    del attention_mask
    causal = bool(module.is_causal) and query.shape[2] > 1
    loaded = fast_library()
    assert loaded is not None
    return products.attention(loaded, query, key, value, scaling, causal), None


def compiled_suits(query: torch.Tensor) -> bool:
    """Whether the compiled kernel is there, can attend these queries, and pays for so many."""
    return (
        query.device.type == "cpu"
        and query.dtype == torch.bfloat16
        and query.shape[2] >= _FEWEST_QUERIES
        and not (query.requires_grad and torch.is_grad_enabled())
        and not torch.compiler.is_compiling()
        and fast_library() is not None
    )


def faster_kernel(
    requested: AttentionFunction,
    implementation: str | None,
    query: torch.Tensor,
    mask: torch.Tensor | None = None,
) -> AttentionFunction:
    """The attention function to use, given the one that the configuration asks for.

    torch's fused attention has a slow backward in bfloat16 on the CPU: 34 ms against 5 ms written
    out, for 160 heads of 64 tokens (2.13, one core). Its forward takes about twice as long as the
    compiled kernel. All else stays as requested.
    """
    if implementation != "sdpa" or query.device.type != "cpu" or query.dtype != torch.bfloat16:
        return requested
    if query.requires_grad:
        return eager_attention
    return compiled_attention if mask is None and compiled_suits(query) else requested


def kernel_width(
    attend: Callable[..., object],
    implementation: str | None,
    query: torch.Tensor,
    value: torch.Tensor,
) -> int:
    """Width that the values should have for the attention function, padded with zeros.

    On the CPU torch has a fused kernel only for values as wide as the queries. For 16 heads of 192
    and 128 and 1500 tokens it takes 0.25 s, what runs otherwise 0.66 s (float32, 2.13, one core).
    """
    fused = implementation == "sdpa" and attend not in (eager_attention, compiled_attention)
    if fused and query.device.type == "cpu":
        return max(query.shape[-1], value.shape[-1])
    return value.shape[-1]
