"""The memory of the paged cache."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vl2.model.configuration import DeepseekVLV2LanguageConfig
from vl2.ops.kernels.library import huge_pages

BLOCK = 16
"""Tokens of a page; `docs/decisions/0006-engine.md` says why."""


def row_width(config: DeepseekVLV2LanguageConfig) -> int:
    """Numbers that one layer keeps of one token: a latent, or keys and values."""
    if config.use_mla:
        return config.latent_dims.rank + config.latent_dims.rope
    return 2 * (config.num_key_value_heads or 0) * config.head_dim


def page_bytes(config: DeepseekVLV2LanguageConfig, dtype: torch.dtype) -> int:
    """Bytes of a page in all layers."""
    return BLOCK * config.num_hidden_layers * row_width(config) * dtype.itemsize


class Storage:
    """The rows of all cached tokens, one pool `[1 + pages, block, w]` a layer; page 0 is zero.

    Args:
        config: the language model.
        pages: how many pages there are beside page 0.
        dtype: of the rows.
        device: where they lie.
    """

    def __init__(
        self,
        config: DeepseekVLV2LanguageConfig,
        pages: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        shape = (1 + pages, BLOCK, row_width(config))
        layers = range(config.num_hidden_layers)
        self.layers = [_zeros(shape, dtype, device) for _ in layers]

    def clear(self, pages: Sequence[int]) -> None:
        """Overwrite pages with zeros: numbers that are not finite would spread to the next user."""
        if pages:
            index = torch.tensor(pages, device=self.layers[0].device)
            for pool in self.layers:
                pool.index_fill_(0, index, 0)


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    # numpy asks the system for zeros, which take no memory until they are written; torch writes.
    size = int(np.prod(shape)) * dtype.itemsize
    zeros = torch.from_numpy(np.zeros(size, dtype=np.uint8))
    huge_pages(zeros, now=False)
    return zeros.view(dtype).view(shape)
