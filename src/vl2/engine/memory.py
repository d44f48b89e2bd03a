"""How a budget of memory is spent: weights first, then what computing takes, the rest is cache."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch

from vl2.engine.limits import Limits
from vl2.engine.storage import BLOCK, page_bytes
from vl2.errors import InputError
from vl2.model.configuration import (
    DeepseekVLV2Config,
    DeepseekVLV2LanguageConfig,
    DeepseekVLV2ProjectorConfig,
    DeepseekVLV2VisionConfig,
)
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.ops.groupwise import Scheme
from vl2.quantization.plan import VL2QuantizationConfig

RUNTIME_BYTES = 500_000_000
"""Python, torch and transformers with nothing loaded: measured 450 MB on Linux, CPU build."""

LEAST_TOKENS = 2048
"""A cache smaller than this (or than the model's context) is not worth loading a model for."""

_USUAL_CONTEXTS = 4


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What takes how many bytes.

    Attributes:
        weights: the weights as they lie in memory.
        runtime: Python and the libraries; on a GPU nothing, which keeps them elsewhere.
        working: the largest of what a step and the encoding of tiles take for a moment.
        pictures: encoded pictures that are kept.
        cache: the paged cache.
        cache_tokens: tokens that it holds.
    """

    weights: int
    runtime: int
    working: int
    pictures: int
    cache: int
    cache_tokens: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.runtime + self.working + self.pictures + self.cache

    def limits(self) -> Limits:
        """The limits of an engine that keeps to the plan."""
        return Limits(cache_tokens=self.cache_tokens, picture_bytes=self.pictures)


def plan_memory(
    config: DeepseekVLV2Config,
    dtype: torch.dtype,
    device: torch.device,
    budget: int | None = None,
    quantization: VL2QuantizationConfig | None = None,
) -> MemoryPlan:
    """Share a budget out.

    Args:
        config: the model.
        dtype: of its weights, and of the cache.
        device: where it will run; on the CPU the budget is for the whole process.
        budget: bytes; None for what an engine takes without one, four full contexts of cache.
        quantization: how weights are quantised; None if they are not, or as the configuration
            says.

    Raises:
        InputError: the budget is too small; the message tells the plan.
    """
    language = cast("DeepseekVLV2LanguageConfig", config.language_config)
    context, page = language.max_position_embeddings, page_bytes(language, dtype)
    usual = Limits()
    plan = MemoryPlan(
        weights=weight_bytes(config, dtype, quantization),
        runtime=RUNTIME_BYTES if device.type == "cpu" else 0,
        working=working_bytes(config, dtype, usual),
        pictures=0,
        cache=0,
        cache_tokens=0,
    )
    if budget is None:
        pages = _pages(_USUAL_CONTEXTS * context)
        return replace(
            plan,
            pictures=usual.picture_bytes,
            cache=(pages + 1) * page,
            cache_tokens=pages * BLOCK,
        )
    least = least_bytes(config, dtype, plan)
    left = budget - plan.total
    if budget < least:
        raise InputError(_too_small(budget, plan, least))
    pictures = min(usual.picture_bytes, (budget - least) // 4)
    pages = min((left - pictures) // page - 1, _pages(usual.running * context))
    return replace(plan, pictures=pictures, cache=(pages + 1) * page, cache_tokens=pages * BLOCK)


def least_bytes(config: DeepseekVLV2Config, dtype: torch.dtype, plan: MemoryPlan) -> int:
    """The smallest budget that the weights and the work of a plan leave a useful cache in."""
    language = cast("DeepseekVLV2LanguageConfig", config.language_config)
    # One page more: page 0 stays empty.
    pages = _pages(min(LEAST_TOKENS, language.max_position_embeddings)) + 1
    cache = pages * page_bytes(language, dtype)
    return plan.weights + plan.runtime + plan.working + cache


def weight_bytes(
    config: DeepseekVLV2Config,
    dtype: torch.dtype,
    quantization: VL2QuantizationConfig | None = None,
) -> int:
    """Bytes of a model's weights in memory; built on the meta device, so nothing is allocated."""
    if quantization is None:
        quantization = VL2QuantizationConfig.of(config)
    with torch.device("meta"):
        model = DeepseekVLV2ForCausalLM(config)
    total = sum(buffer.nbytes for buffer in model.buffers())
    for name, parameter in model.named_parameters():
        module, _, leaf = name.rpartition(".")
        scheme = None
        if quantization is not None and leaf != "bias":
            scheme = quantization.scheme(module)
        if scheme is None:
            total += parameter.numel() * dtype.itemsize
        else:
            total += _quantised_bytes(parameter.shape, scheme)
    return total


def working_bytes(config: DeepseekVLV2Config, dtype: torch.dtype, limits: Limits) -> int:
    """Bytes that the largest step takes beside weights and cache, estimated from above.

    The larger of two: the tiles that are encoded at once, and a step full of a prompt's tokens over
    a full context. Layers come one after the other, so it is the widest layer that counts.
    """
    vision = cast("DeepseekVLV2VisionConfig", config.vision_config)
    projector = cast("DeepseekVLV2ProjectorConfig", config.projector_config)
    language = cast("DeepseekVLV2LanguageConfig", config.language_config)
    size = dtype.itemsize
    patches = vision.patches_per_side**2
    tile = patches * size * (8 * vision.width + 3 * vision.intermediate_size)
    folded = patches * size * (projector.input_dim + 2 * projector.n_embed)
    pixels = 3 * vision.image_size**2 * (4 + size)
    seeing = limits.tiles * (tile + folded + pixels)
    tokens, context = limits.step_tokens, language.max_position_embeddings
    chosen = language.num_experts_per_tok or 0
    # The rows of a token's experts are summed in float32.
    expert = chosen * (size * (3 * language.moe_intermediate_size + language.hidden_size))
    expert += chosen * 8 * language.hidden_size
    dense = 3 * size * language.intermediate_size
    heads = language.num_attention_heads
    value = (language.v_head_dim or 0) if language.use_mla else language.head_dim
    # Values are filled up to the width of keys, for the fused kernel.
    keys = context * heads * size * (3 * language.qk_head_dim + 2 * value)
    mask = tokens * context * 5
    queries = tokens * heads * 4 * language.qk_head_dim * size
    stream = 6 * tokens * language.hidden_size * max(size, 4)
    logits = limits.running * language.vocab_size * (size + 4)
    step = stream + logits + max(tokens * max(expert, dense), keys + mask + queries)
    return max(seeing, step)


def spelled(count: int) -> str:
    """Bytes for people: `8.05 GB`."""
    for unit, step in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= step:
            return f"{count / step:.3g} {unit}"
    return f"{count} B"


def _pages(tokens: int) -> int:
    return -(-tokens // BLOCK)


def _quantised_bytes(shape: torch.Size, scheme: Scheme) -> int:
    *outer, rows, columns = shape
    codes, scales = scheme.shapes(rows, columns)
    each = torch.Size(codes).numel() + 2 * torch.Size(scales).numel()
    return torch.Size(outer).numel() * each


def _too_small(budget: int, plan: MemoryPlan, least: int) -> str:
    runtime = f"{spelled(plan.runtime)} for Python and torch, " if plan.runtime else ""
    return (
        f"A memory of {spelled(budget)} is too small: the model takes {spelled(plan.weights)} of "
        f"weights, {runtime}{spelled(plan.working)} while it computes and at least "
        f"{spelled(least - plan.total)} of cache, together {spelled(least)}; give it that much, "
        "quantise the weights (int8, int4), or take a smaller model."
    )
