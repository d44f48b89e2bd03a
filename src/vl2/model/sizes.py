"""What a model is made of and what it costs to run: arithmetic on a configuration.

No weights and no tensors are needed: every count follows from the shapes that the configuration
states (paper table 1). Parameters are counted as they lie in a checkpoint; "active" are those that
one token meets on its way, so a routed expert counts only if it is chosen, and an embedding table,
of which one row is read, does not count at all.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from vl2.model.configuration import (
    DeepseekVLV2Config,
    DeepseekVLV2LanguageConfig,
    DeepseekVLV2ProjectorConfig,
    DeepseekVLV2VisionConfig,
)

PRECISIONS: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Bytes of one number in each precision a model can be loaded in."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the model: how many parameters it has, how many of them a token meets."""

    name: str
    total: int
    active: int


@dataclass(frozen=True, slots=True)
class ModelSizes:
    """Everything that follows from a configuration without its weights.

    Attributes:
        parts: the parts in the order a picture and its question pass them.
        attention: the kind of attention in a few words.
        experts: how many experts there are and how they are chosen, in a few words.
        layers: decoder layers of the language model.
        context: tokens that a conversation may have.
        flops_per_token: operations of the language model for one generated token, context empty.
        flops_per_context_token: operations that each token already in the cache adds to that.
        dense_flops_per_token: what a dense language model of as many parameters would need.
        flops_per_tile: operations of vision encoder and adaptor for one tile of a picture.
        cache_values_per_token: numbers that the cache keeps for one token, all layers together.
        plain_cache_values_per_token: the same for plain multi-head attention of the same heads.
    """

    parts: tuple[Part, ...]
    attention: str
    experts: str
    layers: int
    context: int
    flops_per_token: int
    flops_per_context_token: int
    dense_flops_per_token: int
    flops_per_tile: int
    cache_values_per_token: int
    plain_cache_values_per_token: int

    @property
    def total(self) -> int:
        """All parameters of the checkpoint."""
        return sum(part.total for part in self.parts)

    @property
    def active(self) -> int:
        """Parameters that are met for one token, those of the picture's way included."""
        return sum(part.active for part in self.parts)

    @property
    def active_language(self) -> int:
        """Those of them that belong to the language model, which the paper calls activated."""
        return self.flops_per_token // 2


def model_sizes(config: DeepseekVLV2Config) -> ModelSizes:
    """Counts parameters, operations and cache of the model that a configuration describes.

    Args:
        config: a configuration, of a released model or any other.
    """
    vision = cast("DeepseekVLV2VisionConfig", config.vision_config)
    projector = cast("DeepseekVLV2ProjectorConfig", config.projector_config)
    language = cast("DeepseekVLV2LanguageConfig", config.language_config)
    seeing = _vision_parts(vision) + _projector_parts(projector)
    speaking = _language_parts(language)
    return ModelSizes(
        parts=seeing + speaking,
        attention=f"latent, rank {language.kv_lora_rank}" if language.use_mla else "multi-head",
        experts=_experts(language),
        layers=language.num_hidden_layers,
        context=language.max_position_embeddings,
        flops_per_token=2 * sum(part.active for part in speaking),
        flops_per_context_token=2 * language.num_hidden_layers * _attended_values(language),
        dense_flops_per_token=2 * sum(p.total for p in speaking if p.name != "token embeddings"),
        flops_per_tile=_tile_flops(vision, projector),
        cache_values_per_token=language.num_hidden_layers * _cached_values(language),
        plain_cache_values_per_token=language.num_hidden_layers * _expanded_values(language),
    )


def _experts(language: DeepseekVLV2LanguageConfig) -> str:
    if language.n_routed_experts is None:
        return "none"
    bias = " with correction bias" if language.topk_method == "noaux_tc" else ""
    return (
        f"{language.n_routed_experts} routed, {language.num_experts_per_tok} chosen by "
        f"{language.scoring_func}{bias}, {language.n_shared_experts or 0} shared"
    )


# --- the way of a picture -----------------------------------------------------------------------


def _linear(inputs: int, outputs: int) -> int:
    """Parameters of a linear layer with bias."""
    return inputs * outputs + outputs


def _vision_block(vision: DeepseekVLV2VisionConfig) -> int:
    width = vision.width
    inner = vision.intermediate_size
    attention = _linear(width, 3 * width) + _linear(width, width)
    return 4 * width + attention + _linear(width, inner) + _linear(inner, width)


def _vision_parts(vision: DeepseekVLV2VisionConfig) -> tuple[Part, ...]:
    width = vision.width
    inner = vision.intermediate_size
    patches = _linear(3 * vision.patch_size**2, width)
    positions = vision.patches_per_side**2 * width
    encoder = patches + positions + vision.layers * _vision_block(vision) + 2 * width
    # SigLIP's attention pooling lies in the checkpoints (one query, one MLP) but is never run.
    pooling = (
        width
        + 2 * _linear(width, width)
        + _linear(width, 2 * width)
        + 2 * width
        + _linear(width, inner)
        + _linear(inner, width)
    )
    return (Part("vision encoder", encoder, encoder), Part("vision pooling (unused)", pooling, 0))


def _projector_layers(projector: DeepseekVLV2ProjectorConfig) -> list[tuple[int, int]]:
    """Inputs and outputs of the adaptor's linear layers."""
    first = projector.input_dim * projector.downsample_ratio**2
    inner = projector.n_embed * projector.mlp_ratio
    middle = [(inner, inner)] * (projector.depth - 2)
    return [(first, inner), *middle, (inner, projector.n_embed)]


def _projector_parts(projector: DeepseekVLV2ProjectorConfig) -> tuple[Part, ...]:
    rows = 2 * projector.n_embed  # the learnt newline and separator
    total = rows + sum(_linear(*sizes) for sizes in _projector_layers(projector))
    return (Part("adaptor", total, total),)


def _tile_flops(vision: DeepseekVLV2VisionConfig, projector: DeepseekVLV2ProjectorConfig) -> int:
    patches = vision.patches_per_side**2
    width = vision.width
    inner = vision.intermediate_size
    block = patches * (4 * width**2 + 2 * width * inner) + 2 * patches**2 * width
    embedding = patches * 3 * vision.patch_size**2 * width
    tokens = math.ceil(vision.patches_per_side / projector.downsample_ratio) ** 2
    joined = tokens * sum(i * o for i, o in _projector_layers(projector))
    return 2 * (embedding + vision.layers * block + joined)


# --- the way of a token -------------------------------------------------------------------------


def _value_width(language: DeepseekVLV2LanguageConfig) -> int:
    """Width of a head's value."""
    return (language.v_head_dim or 0) if language.use_mla else language.head_dim


def _attention(language: DeepseekVLV2LanguageConfig) -> int:
    """Parameters of one layer's attention."""
    hidden, heads = language.hidden_size, language.num_attention_heads
    key, value = language.qk_head_dim, _value_width(language)
    if not language.use_mla:
        key_values = language.num_key_value_heads or heads
        return hidden * (heads + key_values) * (key + value)
    rank, rotary = language.kv_lora_rank or 0, language.qk_rope_head_dim or 0
    latent = hidden * (rank + rotary) + rank
    expansion = rank * heads * (key - rotary + value)
    queries = hidden * heads * key
    if language.q_lora_rank is not None:
        queries = language.q_lora_rank * (hidden + 1 + heads * key)
    return queries + latent + expansion + heads * value * hidden


def _language_parts(language: DeepseekVLV2LanguageConfig) -> tuple[Part, ...]:
    hidden, layers = language.hidden_size, language.num_hidden_layers
    sparse = sum(language.is_moe_layer(layer) for layer in range(layers))
    expert = 3 * hidden * language.moe_intermediate_size
    experts = language.n_routed_experts or 0
    router = experts * (hidden + (language.topk_method == "noaux_tc"))
    words = language.vocab_size * hidden
    head = 0 if language.tie_word_embeddings else words
    always = {
        "attention": layers * _attention(language),
        "dense feed-forward": (layers - sparse) * 3 * hidden * language.intermediate_size,
        "router": sparse * router,
        "shared experts": sparse * (language.n_shared_experts or 0) * expert,
    }
    routed = Part(
        "routed experts",
        sparse * experts * expert,
        sparse * (language.num_experts_per_tok or 0) * expert,
    )
    norms = (2 * layers + 1) * hidden
    return (
        Part("token embeddings", words, 0),
        *(Part(name, count, count) for name, count in always.items()),
        routed,
        Part("norms", norms, norms),
        Part("output head", head, words),
    )


def _cached_values(language: DeepseekVLV2LanguageConfig) -> int:
    """Numbers that one layer keeps of one token."""
    if language.use_mla:
        return (language.kv_lora_rank or 0) + (language.qk_rope_head_dim or 0)
    return (language.num_key_value_heads or 0) * 2 * language.head_dim


def _expanded_values(language: DeepseekVLV2LanguageConfig) -> int:
    """Numbers that one layer would keep of one token if every head stored its key and value."""
    return language.num_attention_heads * (language.qk_head_dim + _value_width(language))


def _attended_values(language: DeepseekVLV2LanguageConfig) -> int:
    """Multiplications of one layer's attention per token of context.

    Latent attention works on the latent itself while it generates: a head's query meets rank +
    rotary numbers, its output gathers rank numbers.
    """
    if language.use_mla:
        return language.num_attention_heads * (
            2 * (language.kv_lora_rank or 0) + (language.qk_rope_head_dim or 0)
        )
    return _expanded_values(language)
