"""The language model of DeepSeek-VL2: attention, decoder layers and the stack of them.

Precision: rotary tables, router and norms compute in float32 whatever the weights are. With float16
weights the residual stream is float32 and the inner products of the MLPs are held down by a power
of two (`vl2.ops.gate`), because activations of this family of models pass float16's 65504.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import Cache, PreTrainedModel
from transformers import initialization as init
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from vl2.errors import InputError
from vl2.model.cache import joined_latents, make_cache, use_latent_layers
from vl2.model.configuration import DeepseekVLV2Config, DeepseekVLV2LanguageConfig
from vl2.model.layers import (
    DeepseekVLV2Experts,
    DeepseekVLV2MLP,
    DeepseekVLV2MoE,
    DeepseekVLV2RMSNorm,
    DeepseekVLV2Router,
)
from vl2.model.outputs import DeepseekVLV2ModelOutput
from vl2.ops import mla, rope
from vl2.ops.attention import (
    AttentionFunction,
    eager_attention,
    faster_kernel,
    kernel_width,
)

# Implementations that the absorbed form may stand in for; other engines bring their own.
_NATIVE_ATTENTION = ("eager", "sdpa")
_Tables = tuple[torch.Tensor, torch.Tensor]


class DeepseekVLV2Attention(nn.Module):
    """Multi-head attention with half-split rotary embedding (tiny)."""

    def __init__(self, config: DeepseekVLV2LanguageConfig, layer_idx: int) -> None:
        super().__init__()
        self.config, self.layer_idx = config, layer_idx
        self.head_dim = config.head_dim
        kv_heads = config.num_key_value_heads or config.num_attention_heads
        self.num_key_value_groups = config.num_attention_heads // kv_heads
        self.scaling = self.head_dim**-0.5
        self.is_causal = True
        width, bias = config.hidden_size, config.attention_bias
        kv_width = kv_heads * self.head_dim
        self.q_proj = nn.Linear(width, config.num_attention_heads * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(width, kv_width, bias=bias)
        self.v_proj = nn.Linear(width, kv_width, bias=bias)
        self.o_proj = nn.Linear(config.num_attention_heads * self.head_dim, width, bias=bias)

    def project(
        self, hidden_states: torch.Tensor, position_embeddings: _Tables
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Maps `[b, t, d]` to queries `[b, h, t, d]`, keys and values `[b, g, t, d]`."""
        query, key, value = (
            project(hidden_states).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        query = rope.rotate_half_split(query, *position_embeddings)
        key = rope.rotate_half_split(key, *position_embeddings)
        return query, key, value

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: _Tables,
        attention_mask: torch.Tensor | None,
        past_key_values: Cache | None = None,
        output_attentions: bool = False,
        **kwargs: Any,  # noqa: ANN401
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Maps `[b, t, d]` to `[b, t, d]` and, if the kernel gives them, the weights."""
        query, key, value = self.project(hidden_states, position_embeddings)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        implementation = self.config._attn_implementation or "eager"
        attend = _kernel(implementation, query, attention_mask, output_attentions)
        mixed, weights = attend(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.config.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )
        return self.o_proj(mixed.flatten(2)), weights


class DeepseekVLV2LatentAttention(nn.Module):
    """Multi-head latent attention with interleaved rotary embedding (small, base).

    The cache holds latents. Many queries attend in the expanded form, few queries over a long cache
    in the absorbed one; see `vl2.ops.mla`.
    """

    def __init__(self, config: DeepseekVLV2LanguageConfig, layer_idx: int) -> None:
        super().__init__()
        self.config, self.layer_idx = config, layer_idx
        self.dims = config.latent_dims
        self.scaling = config.qk_head_dim**-0.5
        self.num_key_value_groups = 1
        self.is_causal = True
        width, bias, dims = config.hidden_size, config.attention_bias, self.dims
        query_width = dims.heads * config.qk_head_dim
        self.has_plain_query = config.q_lora_rank is None
        if config.q_lora_rank is None:
            self.q_proj = nn.Linear(width, query_width, bias=False)
        else:
            self.q_a_proj = nn.Linear(width, config.q_lora_rank, bias=bias)
            self.q_a_layernorm = DeepseekVLV2RMSNorm(config.q_lora_rank)
            self.q_b_proj = nn.Linear(config.q_lora_rank, query_width, bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(width, dims.rank + dims.rope, bias=bias)
        self.kv_a_layernorm = DeepseekVLV2RMSNorm(dims.rank)
        self.kv_b_proj = nn.Linear(dims.rank, dims.heads * (dims.nope + dims.value), bias=False)
        self.o_proj = nn.Linear(dims.heads * dims.value, width, bias=bias)

    def project(
        self, hidden_states: torch.Tensor, position_embeddings: _Tables
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Maps `[b, t, d]` to the two parts of the queries and what the cache keeps of a token.

        Returns:
            Position-free `[b, h, t, n]` and rotated `[b, h, t, p]` part of the queries, latents
            `[b, 1, t, r]` and rotated part `[b, 1, t, p]` of the keys.
        """
        # Reading a configuration costs more than a small matrix product.
        if self.has_plain_query:
            query = self.q_proj(hidden_states)
        else:
            query = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(hidden_states)))
        query = query.unflatten(-1, (-1, self.dims.nope + self.dims.rope)).transpose(1, 2)
        q_pass, q_rot = query.split([self.dims.nope, self.dims.rope], dim=-1)
        compressed = self.kv_a_proj_with_mqa(hidden_states)[:, None]
        kv_nope, k_rot = compressed.split([self.dims.rank, self.dims.rope], dim=-1)
        kv_nope = self.kv_a_layernorm(kv_nope).to(compressed.dtype)
        q_rot = rope.rotate_interleaved(q_rot, *position_embeddings)
        k_rot = rope.rotate_interleaved(k_rot, *position_embeddings)
        return q_pass, q_rot, kv_nope, k_rot

    def expand_kv(
        self, kv_nope: torch.Tensor, k_rot: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Expands latents `[b, 1, s, r]` and rotated parts `[b, 1, s, p]` to keys and values."""
        return mla.split_expanded(self.kv_b_proj(kv_nope), k_rot, self.dims)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: _Tables,
        attention_mask: torch.Tensor | None,
        past_key_values: Cache | None = None,
        output_attentions: bool = False,
        **kwargs: Any,  # noqa: ANN401
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Maps `[b, t, d]` to `[b, t, d]` and, if the kernel gives them, the weights."""
        q_pass, q_rot, kv_nope, k_rot = self.project(hidden_states, position_embeddings)
        if past_key_values is not None:
            kv_nope, k_rot = past_key_values.update(kv_nope, k_rot, self.layer_idx)
        implementation = self.config._attn_implementation or "eager"
        native = implementation in _NATIVE_ATTENTION and not output_attentions
        if native and self._absorbs(q_pass.shape[2], kv_nope.shape[2], attention_mask):
            latents = joined_latents(past_key_values, self.layer_idx, kv_nope, k_rot)
            weight = self.kv_b_proj.weight
            mixed = mla.absorbed_attention(
                q_pass, q_rot, latents, weight, attention_mask, self.scaling
            )
            return self.o_proj(mixed.flatten(2)), None
        key, value = self.expand_kv(kv_nope, k_rot)
        query = torch.cat((q_pass, q_rot), dim=-1)
        attend = _kernel(implementation, query, attention_mask, output_attentions)
        padding = kernel_width(attend, implementation, query, value) - value.shape[-1]
        mixed, weights = attend(
            self,
            query,
            key,
            F.pad(value, (0, padding)) if padding else value,
            attention_mask,
            dropout=self.config.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )
        return self.o_proj(mixed[..., : self.dims.value].flatten(2)), weights

    def _absorbs(self, queries: int, cached: int, mask: torch.Tensor | None) -> bool:
        # Without a mask several queries are causal among themselves, which the kernels know and the
        # absorbed form does not.
        return (
            not self.training
            and (queries == 1 or mask is not None)
            and mla.absorption_pays(queries, cached, self.dims)
        )


def _kernel(
    implementation: str, query: torch.Tensor, mask: torch.Tensor | None, shows_weights: bool
) -> AttentionFunction:
    """The attention function to call; fused kernels never hold the weights they would show."""
    if shows_weights and implementation in _NATIVE_ATTENTION:
        return eager_attention
    attend = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention)
    return faster_kernel(attend, implementation, query, mask)


class DeepseekVLV2DecoderLayer(GradientCheckpointingLayer):
    """Attention, then an MLP or a mixture of experts, each normed before and added after."""

    def __init__(self, config: DeepseekVLV2LanguageConfig, layer_idx: int) -> None:
        super().__init__()
        attention = DeepseekVLV2LatentAttention if config.use_mla else DeepseekVLV2Attention
        self.self_attn = attention(config, layer_idx)
        if config.is_moe_layer(layer_idx):
            self.mlp = DeepseekVLV2MoE(config)
        else:
            self.mlp = DeepseekVLV2MLP(config, config.intermediate_size)
        self.input_layernorm = DeepseekVLV2RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = DeepseekVLV2RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:  # noqa: ANN401
        """Maps `[b, t, d]` to `[b, t, d]`."""
        attended, weights = self.self_attn(self.input_layernorm(hidden_states), **kwargs)
        if weights is None and kwargs.get("output_attentions"):
            raise InputError(
                f"attn_implementation {self.self_attn.config._attn_implementation!r} gives no "
                "attention weights; for output_attentions choose 'sdpa' or 'eager'."
            )
        hidden_states = hidden_states + attended
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))


class DeepseekVLV2PreTrainedModel(PreTrainedModel):
    """What the model classes share with transformers."""

    config: DeepseekVLV2Config  # pyrefly: ignore[bad-override-mutable-attribute]
    config_class = DeepseekVLV2Config
    base_model_prefix = "model"
    input_modalities = ["image", "text"]
    supports_gradient_checkpointing = True
    _no_split_modules = ["DeepseekVLV2DecoderLayer", "DeepseekVLV2VisionBlock"]
    _skip_keys_device_placement = ["past_key_values"]
    _keep_in_fp32_modules_strict = {"e_score_correction_bias"}
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _can_record_outputs = {
        "hidden_states": DeepseekVLV2DecoderLayer,
        "attentions": [DeepseekVLV2Attention, DeepseekVLV2LatentAttention],
        "router_logits": OutputRecorder(DeepseekVLV2Router, index=0),
        "router_indices": OutputRecorder(DeepseekVLV2Router, index=2),
    }

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        std = self.config.get_text_config().initializer_range
        if isinstance(module, DeepseekVLV2Router):
            init.normal_(module.weight, std=std)
            if module.e_score_correction_bias is not None:
                init.zeros_(module.e_score_correction_bias)
        elif isinstance(module, DeepseekVLV2Experts):
            init.normal_(module.gate_up_proj, std=std)
            init.normal_(module.down_proj, std=std)

    @classmethod
    def _can_set_experts_implementation(cls) -> bool:
        # transformers would look for the decorator in the source of the model's own module.
        return True


class DeepseekVLV2LanguageModel(DeepseekVLV2PreTrainedModel):
    """The decoder stack, without images and without a head."""

    config: DeepseekVLV2LanguageConfig  # pyrefly: ignore[bad-override-mutable-attribute]
    config_class = DeepseekVLV2LanguageConfig
    input_modalities = ["text"]

    def __init__(self, config: DeepseekVLV2LanguageConfig) -> None:
        super().__init__(config)
        self.embed_tokens: nn.Module = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            [DeepseekVLV2DecoderLayer(config, index) for index in range(config.num_hidden_layers)]
        )
        self.norm = DeepseekVLV2RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> DeepseekVLV2ModelOutput:
        """Runs tokens `[b, t]` or embeddings `[b, t, d]` through the layers.

        Without `position_ids`, a row's positions count its tokens that `attention_mask` lets
        through, so padding on the left changes nothing.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise InputError("Give either input_ids or inputs_embeds, not both and not none.")
        hidden = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if past_key_values is not None:
            use_latent_layers(past_key_values, self.config)
        elif use_cache and not self.training:
            past_key_values = make_cache(self.config)
        if position_ids is None:
            position_ids = _positions(hidden, attention_mask, past_key_values)
        mask = create_causal_mask(
            config=self.config,
            inputs_embeds=hidden,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            position_ids=position_ids,
        )
        tables = rope.rotary_tables(position_ids, self.config.head_dim, self.config.rope_theta)
        if hidden.dtype == torch.float16:
            hidden = hidden.to(torch.float32)
        for key in ("output_router_logits", "output_router_indices"):
            kwargs.pop(key, None)
        kwargs.setdefault("output_attentions", self.config.output_attentions)
        for layer in self.layers:
            hidden = layer(
                hidden,
                position_embeddings=tables,
                attention_mask=mask,
                past_key_values=past_key_values,
                **kwargs,
            )
        return DeepseekVLV2ModelOutput(
            last_hidden_state=self.norm(hidden), past_key_values=past_key_values
        )


def _positions(
    hidden: torch.Tensor, attention_mask: torch.Tensor | None, cache: Cache | None
) -> torch.Tensor:
    length, past = hidden.shape[1], cache.get_seq_length() if cache is not None else 0
    if attention_mask is not None and attention_mask.ndim == 2:
        counted = (attention_mask.long().cumsum(dim=-1) - 1).clamp(min=0)
        if attention_mask.shape[1] == past + length:
            return counted[:, -length:]
    return (torch.arange(length, device=hidden.device) + past)[None]
