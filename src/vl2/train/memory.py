"""What a training step keeps for its backward pass: arithmetic on a configuration.

Counted is what autograd saves under bfloat16 autocast, layer by layer: the residual streams in
float32, what enters and leaves the matrix products in bfloat16 (maps that read one input cast it
one by one), the routers in float32. `tests/train/test_plan.py` compares it with a small run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from vl2.model.configuration import (
    DeepseekVLV2Config,
    DeepseekVLV2LanguageConfig,
    DeepseekVLV2ProjectorConfig,
    DeepseekVLV2VisionConfig,
)

_WIDE, _NARROW = 4, 2
"""Bytes of float32 and bfloat16."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one forward pass on one device holds.

    Attributes:
        rows: rows.
        tokens: tokens of a row, places of pictures included.
        tiles: tiles of all rows.
        supervised: tokens with a loss, all rows together.
    """

    rows: int
    tokens: int
    tiles: int
    supervised: int


@dataclass(frozen=True, slots=True)
class Kept:
    """How activations are kept.

    Attributes:
        gradient_checkpointing: whether a layer keeps only its input and is computed again.
        scores: whether attention keeps its scores (written out, as on a CPU in bfloat16) or
            computes them again (the fused kernels of a GPU).
    """

    gradient_checkpointing: bool
    scores: bool


def activation_bytes(config: DeepseekVLV2Config, batch: Batch, kept: Kept) -> int:
    """Bytes that one forward pass keeps for its backward pass, at the peak of the latter.

    Args:
        config: of the model.
        batch: of the pass.
        kept: how.
    """
    language = cast("DeepseekVLV2LanguageConfig", config.language_config)
    vision = cast("DeepseekVLV2VisionConfig", config.vision_config)
    layers = [_layer(language, index, batch, kept) for index in range(language.num_hidden_layers)]
    stream = batch.rows * batch.tokens * language.hidden_size * _WIDE
    patches = batch.tiles * vision.patches_per_side**2
    blocks = [_vision_block(vision, patches, kept)] * vision.layers
    ends = _head(language, batch) + _projector(config, batch) + 2 * stream
    if not kept.gradient_checkpointing:
        return ends + sum(layers) + sum(blocks)
    inputs = len(layers) * stream + len(blocks) * patches * vision.width * _WIDE
    return ends + inputs + max(*layers, *blocks)


def _layer(language: DeepseekVLV2LanguageConfig, index: int, batch: Batch, kept: Kept) -> int:
    tokens, width = batch.rows * batch.tokens, language.hidden_size
    norms = 2 * (2 * width + 1) * _WIDE
    parts = norms + _attention(language)
    if language.is_moe_layer(index):
        parts += _mixture(language)
    else:
        parts += _mlp(width, language.intermediate_size)
    return tokens * (parts + _scores(language.num_attention_heads, batch.tokens, kept))


def _scores(heads: int, context: int, kept: Kept) -> int:
    """Per query: float32 before the softmax and bfloat16 after it, and which keys are visible."""
    return (heads * (_WIDE + _NARROW) + 1) * context if kept.scores else 0


def _attention(language: DeepseekVLV2LanguageConfig) -> int:
    """Per token: what enters the maps, the queries, keys and values, and what attention gives."""
    width, heads, key = language.hidden_size, language.num_attention_heads, language.qk_head_dim
    if not language.use_mla:
        kv_heads = language.num_key_value_heads or heads
        rotated = heads * key + 2 * kv_heads * key
        return _NARROW * (3 * width + rotated + heads * key)
    rank, value = language.kv_lora_rank or 0, language.v_head_dim or 0
    latent = (2 * rank + 1) * _WIDE + rank * _NARROW
    expanded = heads * (2 * key + value + value)
    return latent + _NARROW * (2 * width + expanded)


def _mlp(width: int, inner: int) -> int:
    """Per token: two casts of the input; gate, up, the activated gate, and their product."""
    return _NARROW * (2 * width + 4 * inner)


def _mixture(language: DeepseekVLV2LanguageConfig) -> int:
    """Per token: the router's input and logits, k experts and their outputs, the shared experts."""
    width, inner = language.hidden_size, language.moe_intermediate_size
    top_k, experts = language.num_experts_per_tok or 0, language.n_routed_experts or 0
    router = (width + experts) * _WIDE + top_k * (8 + 8 + 8 + 3 * _WIDE)
    routed = top_k * (_NARROW * (width + 5 * inner) + _WIDE * width)
    shared = _mlp(width, inner * (language.n_shared_experts or 0))
    return router + routed + shared


def _vision_block(vision: DeepseekVLV2VisionConfig, patches: int, kept: Kept) -> int:
    width, inner = vision.width, vision.intermediate_size
    norms = 2 * (width + 2) * _WIDE
    maps = _NARROW * (width + 3 * width + width + width + 2 * inner)
    return patches * (norms + maps + _scores(vision.heads, vision.patches_per_side**2, kept))


def _projector(config: DeepseekVLV2Config, batch: Batch) -> int:
    vision = cast("DeepseekVLV2VisionConfig", config.vision_config)
    projector = cast("DeepseekVLV2ProjectorConfig", config.projector_config)
    ratio = projector.downsample_ratio
    rows = -((-vision.patches_per_side // ratio) ** 2)
    hidden = projector.n_embed * projector.mlp_ratio
    inner = (projector.depth - 1) * 2 * hidden
    return batch.tiles * rows * _NARROW * (projector.input_dim * ratio**2 + inner)


def _head(language: DeepseekVLV2LanguageConfig, batch: Batch) -> int:
    """The last norm, and of every supervised token the float32 scores of all words."""
    return batch.supervised * (_NARROW * language.hidden_size + _WIDE * language.vocab_size)
