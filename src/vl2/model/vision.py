"""The SigLIP vision tower of DeepSeek-VL2 (arXiv 2303.15343; released as SO400M at 384 pixels).

A plain pre-norm vision transformer: 27x27 patches of 14 pixels (the last 6 of 384 pixels are
dropped), learned positions, no class token, tanh GELU. Its attention-pooling head is in every
checkpoint and unused; it is kept so that saved checkpoints stay complete.

Parameter names are the official ones: `qkv` stays fused and `pos_embed` has three dimensions.
"""

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from vl2.errors import InputError
from vl2.model.configuration import DeepseekVLV2VisionConfig
from vl2.ops.attention import eager_attention, faster_kernel

_EPS = 1e-6


class DeepseekVLV2VisionAttention(nn.Module):
    """Multi-head self-attention over the patches of one tile, without a mask."""

    def __init__(self, config: DeepseekVLV2VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.heads = config.heads
        self.scaling = (config.width // config.heads) ** -0.5
        self.is_causal = False
        self.num_key_value_groups = 1
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, x: torch.Tensor, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor | None]:  # noqa: ANN401
        """Maps patches `[n, p, c]` to `[n, p, c]` and, if the kernel gives them, the weights."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(dim=2)
        implementation = self.config._attn_implementation or "eager"
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention)
        attend = faster_kernel(attend, implementation, query)
        mixed, weights = attend(
            self,
            query.transpose(1, 2),
            key.transpose(1, 2),
            value.transpose(1, 2),
            None,
            scaling=self.scaling,
            **kwargs,
        )
        return self.proj(mixed.flatten(2)), weights


class DeepseekVLV2VisionMLP(nn.Module):
    """Linear, tanh GELU, Linear."""

    def __init__(self, config: DeepseekVLV2VisionConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.width, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[..., c]` to `[..., c]`."""
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class DeepseekVLV2VisionBlock(GradientCheckpointingLayer):
    """Attention and MLP, each behind a layer norm and added to its input."""

    def __init__(self, config: DeepseekVLV2VisionConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=_EPS)
        self.attn = DeepseekVLV2VisionAttention(config)
        self.norm2 = nn.LayerNorm(config.width, eps=_EPS)
        self.mlp = DeepseekVLV2VisionMLP(config)

    def forward(self, x: torch.Tensor, **kwargs: Any) -> torch.Tensor:  # noqa: ANN401
        """Maps patches `[n, p, c]` to `[n, p, c]`."""
        x = x + self.attn(_normed(self.norm1, x), **kwargs)[0]
        return x + self.mlp(_normed(self.norm2, x))


class DeepseekVLV2PatchEmbed(nn.Module):
    """Cuts a tile into patches and embeds each."""

    def __init__(self, config: DeepseekVLV2VisionConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, config.patch_size, stride=config.patch_size)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Maps tiles `[n, 3, s, s]` to patches `[n, p, c]`, row by row."""
        # Without gaps, or every operation on the residual stream would stride over them.
        return self.proj(pixel_values).flatten(2).transpose(1, 2).contiguous()


class DeepseekVLV2AttentionPool(nn.Module):
    """Weights of SigLIP's pooling head, carried along from checkpoint to checkpoint, never run."""

    def __init__(self, config: DeepseekVLV2VisionConfig) -> None:
        super().__init__()
        self.latent = nn.Parameter(torch.zeros(1, 1, config.width))
        self.q = nn.Linear(config.width, config.width)
        self.kv = nn.Linear(config.width, 2 * config.width)
        self.proj = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=_EPS)
        self.mlp = DeepseekVLV2VisionMLP(config)
        # Without a gradient, or distributed training would wait for one.
        self.requires_grad_(False)


class DeepseekVLV2VisionModel(PreTrainedModel):
    """Tiles to patch features; usable alone."""

    config: DeepseekVLV2VisionConfig  # pyrefly: ignore[bad-override-mutable-attribute]
    config_class = DeepseekVLV2VisionConfig
    base_model_prefix = "vision_tower"
    main_input_name = "pixel_values"
    input_modalities = ["image"]
    supports_gradient_checkpointing = True
    _no_split_modules = ["DeepseekVLV2VisionBlock"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: DeepseekVLV2VisionConfig) -> None:
        super().__init__(config)
        self.patch_embed = DeepseekVLV2PatchEmbed(config)
        self.pos_embed = nn.Parameter(torch.zeros(1, config.patches_per_side**2, config.width))
        self.blocks = nn.ModuleList([DeepseekVLV2VisionBlock(config) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(config.width, eps=_EPS)
        self.attn_pool = DeepseekVLV2AttentionPool(config)
        self.gradient_checkpointing = False
        self.post_init()

    def forward(self, pixel_values: torch.Tensor, **kwargs: Any) -> torch.Tensor:  # noqa: ANN401
        """Encodes tiles.

        In float16 the residual stream is float32: SigLIP's largest activations come near 65504.

        Args:
            pixel_values: `[n, 3, s, s]`, normalised with mean and deviation 0.5.
            **kwargs: passed on to the attention kernel.

        Returns:
            `[n, p, c]`, the normalised features of the last block.
        """
        size = self.config.image_size
        if pixel_values.ndim != 4 or pixel_values.shape[1:] != (3, size, size):
            raise InputError(
                f"pixel_values must have the shape [tiles, 3, {size}, {size}], "
                f"not {list(pixel_values.shape)}."
            )
        weight = self.patch_embed.proj.weight
        x = self.patch_embed(pixel_values.to(weight.dtype)) + self.pos_embed
        if x.dtype == torch.float16:
            x = x.to(torch.float32)
        for block in self.blocks:
            x = block(x, **kwargs)
        return _normed(self.norm, x)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, DeepseekVLV2VisionModel):
            init.trunc_normal_(module.pos_embed, std=module.config.width**-0.5)
        elif isinstance(module, DeepseekVLV2AttentionPool):
            init.trunc_normal_(module.latent, std=module.latent.shape[-1] ** -0.5)
        elif isinstance(module, DeepseekVLV2PatchEmbed):
            fan_in = math.prod(module.proj.weight.shape[1:])
            init.trunc_normal_(module.proj.weight, std=fan_in**-0.5)


def _normed(norm: nn.LayerNorm, x: torch.Tensor) -> torch.Tensor:
    # The statistics of a float32 residual stream stay float32; what follows is as the weights are.
    if x.dtype == norm.weight.dtype:
        return norm(x)
    weight, bias = norm.weight.to(x.dtype), norm.bias.to(x.dtype)
    return F.layer_norm(x, norm.normalized_shape, weight, bias, norm.eps).to(norm.weight.dtype)
