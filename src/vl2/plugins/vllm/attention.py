"""Heads of sizes that vLLM's CPU kernels have no code for."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F
from vllm.model_executor.layers.attention import Attention
from vllm.platforms import current_platform
from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend


def fitting_size(head_size: int) -> int:
    """The head size that stands in for one that the platform's kernels lack."""
    if not current_platform.is_cpu():
        return head_size
    sizes = CPUAttentionBackend.get_supported_head_sizes()
    return min((size for size in sizes if size >= head_size), default=head_size)


class FittingAttention(Attention):
    """vLLM's attention with heads filled up with zeros, which change neither scores nor outputs."""

    def __init__(
        self,
        num_heads: int,
        head_size: int,
        scale: float,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(num_heads, fitting_size(head_size), scale, **kwargs)
        self._given_size = head_size

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        **kwargs: Any,  # noqa: ANN401
    ) -> torch.Tensor:
        """Attends; queries, keys and values and what comes out are `[t, h * d]` or `[t, h, d]`."""
        if self._given_size == self.head_size:
            return super().forward(query, key, value, **kwargs)
        mixed = super().forward(*(self._filled(part) for part in (query, key, value)), **kwargs)
        return mixed.unflatten(-1, (self.num_heads, -1))[..., : self._given_size].flatten(1)

    def _filled(self, x: torch.Tensor) -> torch.Tensor:
        heads = x.reshape(x.shape[0], -1, self._given_size)
        return F.pad(heads, (0, self.head_size - self._given_size)).flatten(1)
