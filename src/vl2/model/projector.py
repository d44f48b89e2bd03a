"""The adaptor from patch features to language-model tokens (paper, section 2)."""

import torch
from torch import nn

from vl2.model.configuration import DeepseekVLV2ProjectorConfig
from vl2.ops.tiles import fold_patches


class DeepseekVLV2Projector(nn.Module):
    """Folds 2x2 patches into one token and maps it through Linear, exact GELU, Linear."""

    def __init__(self, config: DeepseekVLV2ProjectorConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.n_embed * config.mlp_ratio
        layers: list[nn.Module] = [nn.Linear(config.input_dim * config.downsample_ratio**2, hidden)]
        for _ in range(config.depth - 2):
            layers += [nn.GELU(), nn.Linear(hidden, hidden)]
        self.layers = nn.Sequential(*layers, nn.GELU(), nn.Linear(hidden, config.n_embed))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Maps patch features `[n, g * g, c]` to tokens `[n, ceil(g / 2) ** 2, d]`."""
        return self.layers(fold_patches(patches, self.config.downsample_ratio))
