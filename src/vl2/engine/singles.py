"""Single tokens of many conversations through all layers in one call of the kernels.

This is what most steps of an engine are. Where the kernels cannot do it (a GPU, weights that are
not packed, activations other than SiLU), `Runner` runs the layers one by one.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from typing import cast

import torch
from torch import nn

from vl2.engine.storage import Storage
from vl2.model.configuration import DeepseekVLV2LanguageConfig
from vl2.model.language import (
    DeepseekVLV2Attention,
    DeepseekVLV2DecoderLayer,
    DeepseekVLV2LatentAttention,
)
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.ops.kernels import step
from vl2.ops.kernels.library import TYPES, huge_pages, library
from vl2.ops.kernels.products import Experts, Weight
from vl2.quantization.modules import QuantisedLinear, QuantisedMLP, QuantisedMoE


class Singles:
    """A model as the kernels see it.

    Args:
        loaded: the kernels.
        stack: the model, described to them.
    """

    def __init__(self, loaded: ctypes.CDLL, stack: step.Stack) -> None:
        self._loaded, self._stack = loaded, stack
        weights = {id(each.codes): each.codes for each in _weights(stack)}
        # Answers need not wait for it.
        self._work = threading.Thread(
            target=_rearrange, args=(list(weights.values()),), daemon=True
        )
        self._work.start()

    @classmethod
    def of(cls, model: DeepseekVLV2ForCausalLM, storage: Storage) -> Singles | None:
        """Describes a model and its cache; None if the kernels cannot run it as a whole."""
        loaded = library()
        language = model.model.language_model
        pools = storage.layers
        if loaded is None or model.device.type != "cpu" or pools[0].dtype not in TYPES:
            return None
        head = _weight(model.lm_head)
        layers = [_layer(layer) for layer in language.layers]
        known = [layer for layer in layers if layer is not None]
        if head is None or len(known) < len(layers):
            return None
        config = model.config.language_config
        stack = step.describe(
            _shape(config, language.layers[0].self_attn),
            known,
            config.routing,
            language.norm.weight,
            head,
            pools,
        )
        return cls(loaded, stack)

    def settle(self) -> None:
        """Wait until the weights lie in huge pages, or where they will stay."""
        self._work.join()

    def run(
        self,
        hidden: torch.Tensor,
        tables: tuple[torch.Tensor, torch.Tensor],
        slots: torch.Tensor,
        pages: torch.Tensor,
        lengths: torch.Tensor,
    ) -> torch.Tensor:
        """Logits after single tokens, float32 `[b, v]`; arguments as of `step.run`."""
        return step.run(self._loaded, self._stack, hidden, tables, slots, pages, lengths)


def _weights(stack: step.Stack) -> Iterator[Weight]:
    """All weights that a step reads."""
    yield stack.head
    for layer in stack.layers:
        attention = layer.attention
        maps = (attention.query, attention.key, attention.output, attention.value)
        for weight in (*maps, attention.query_first, *layer.feed_forward.parts):
            if weight is not None:
                yield weight


def _rearrange(codes: list[torch.Tensor]) -> None:
    while codes:
        huge_pages(codes.pop(), now=True)


def _shape(config: DeepseekVLV2LanguageConfig, attention: nn.Module) -> step.Shape:
    scale = cast("float", attention.scaling)
    if config.use_mla:
        dims = config.latent_dims
        inner = cast("DeepseekVLV2LatentAttention", attention).kv_a_layernorm.eps
        widths = (1, dims.heads, 0, dims.rank, dims.nope, dims.rope, dims.value)
    else:
        groups = config.num_key_value_heads or config.num_attention_heads
        inner = config.rms_norm_eps
        widths = (groups, config.num_attention_heads // groups, config.head_dim, 0, 0, 0, 0)
    return step.Shape(config.hidden_size, *widths, config.rms_norm_eps, inner, scale)


def _layer(layer: DeepseekVLV2DecoderLayer) -> step.Layer | None:
    """A layer as the kernels see it; None if they cannot run it."""
    inner = layer.self_attn
    latent = isinstance(inner, DeepseekVLV2LatentAttention)
    attention = _latents(inner) if latent else _heads(inner)
    feed_forward = _feed_forward(layer.mlp)
    if attention is None or feed_forward is None:
        return None
    gate = layer.mlp.gate if isinstance(layer.mlp, QuantisedMoE) else None
    return step.Layer(
        layer.input_layernorm.weight,
        layer.post_attention_layernorm.weight,
        attention,
        feed_forward,
        router=None if gate is None else cast("torch.Tensor", gate.weight),
        bias=None if gate is None else cast("torch.Tensor | None", gate.e_score_correction_bias),
    )


def _heads(attention: DeepseekVLV2Attention) -> step.Attention | None:
    query, key = _weight(attention.q_proj), _weight(attention.k_proj)
    value, output = _weight(attention.v_proj), _weight(attention.o_proj)
    if query is None or key is None or value is None or output is None:
        return None
    return step.Attention(query, key, output, value)


def _latents(attention: DeepseekVLV2LatentAttention) -> step.Attention | None:
    expansion = attention.kv_b_proj.weight
    key, output = _weight(attention.kv_a_proj_with_mqa), _weight(attention.o_proj)
    first, norm = None, None
    if attention.has_plain_query:
        query = _weight(attention.q_proj)
    else:
        query, first = _weight(attention.q_b_proj), _weight(attention.q_a_proj)
        norm = attention.q_a_layernorm.weight
        if first is None:
            return None
    if query is None or key is None or output is None or expansion.dtype not in TYPES:
        return None
    return step.Attention(
        query,
        key,
        output,
        query_first=first,
        query_norm=norm,
        latent_norm=attention.kv_a_layernorm.weight,
        expansion=expansion.data.contiguous(),
    )


def _feed_forward(mlp: nn.Module) -> Experts | None:
    if isinstance(mlp, QuantisedMoE):
        few = mlp.experts.num_experts <= step.MOST_EXPERTS
        return mlp.described() if few and mlp.fuses else None
    return mlp.described() if isinstance(mlp, QuantisedMLP) and mlp.fuses else None


def _weight(module: nn.Module) -> Weight | None:
    """The weight of a linear map as the kernels see it; None if it is not packed, or has a bias."""
    if isinstance(module, QuantisedLinear) and module.bias is None:
        return module.seen
    return None
