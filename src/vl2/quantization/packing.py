"""Plain bfloat16 weights, rearranged for the compiled kernels.

Nothing is rounded and no second copy is kept. On the CPU the kernels multiply by packed weights at
the speed of torch's own, but take a whole layer of experts, or all layers of a decode step, in one
call; torch would spend half of a step on calling.
"""

from __future__ import annotations

import torch
from torch import nn

from vl2.model.layers import DeepseekVLV2Experts
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.ops.groupwise import Scheme, quantise
from vl2.ops.kernels.library import fast_library, huge_pages
from vl2.quantization.modules import QuantisedExperts, QuantisedLinear
from vl2.quantization.plan import part_of
from vl2.quantization.quantizer import join_parts

PACKED = Scheme(16)
"""How plain weights are stored for the kernels."""


def pack(model: DeepseekVLV2ForCausalLM) -> DeepseekVLV2ForCausalLM:
    """Packs what is bfloat16, on the CPU and not quantised; elsewhere nothing happens.

    Nor where the kernels are portable C: torch's products of bfloat16 may be the faster ones there.

    For inference: the model can then neither be trained nor saved.

    Args:
        model: is changed in place.

    Returns:
        The model.
    """
    if fast_library() is None or model.device.type != "cpu":
        return model
    tied = model.config.tie_word_embeddings
    # Only the names are listed: the plain weights shall go one by one.
    for name in [name for name, _ in model.named_modules()]:
        module, part = model.get_submodule(name), part_of(name)
        if part is None or (tied and part == "head"):
            continue
        packed: nn.Module | None = None
        if isinstance(module, nn.Linear) and module.weight.dtype == torch.bfloat16:
            packed = _linear(module)
        elif isinstance(module, DeepseekVLV2Experts):
            packed = _experts(module)
        if packed is not None:
            model.set_submodule(name, packed)
    join_parts(model)
    # The pooling head is carried from checkpoint to checkpoint, and nothing is saved from here.
    model.model.vision_tower.attn_pool = None  # pyrefly: ignore[bad-assignment]
    return model.eval()


def _linear(module: nn.Linear) -> QuantisedLinear:
    has_bias = module.bias is not None
    with torch.device("meta"):
        made = QuantisedLinear(module.in_features, module.out_features, PACKED, bias=has_bias)
    _give(made, "weight", quantise(module.weight.data, PACKED)[0])
    made.bias = module.bias
    return made


def _experts(module: DeepseekVLV2Experts) -> QuantisedExperts | None:
    if module.gate_up_proj.dtype != torch.bfloat16:
        return None
    with torch.device("meta"):
        made = QuantisedExperts(module, PACKED)
    for name in made.weights:
        weight, codes = getattr(module, name), getattr(made, name)
        stored = torch.empty(codes.shape, dtype=torch.uint8)
        huge_pages(stored, now=False)
        for expert, matrix in enumerate(weight.data):
            halves = matrix.chunk(2) if name == "gate_up_proj" else (matrix,)
            stored[expert] = torch.cat([quantise(half, PACKED)[0] for half in halves])
        # The plain weights go as soon as they are packed: there is room for one layer twice.
        setattr(module, name, None)
        _give(made, name, stored)
    return made


def _give(module: QuantisedLinear | QuantisedExperts, name: str, codes: torch.Tensor) -> None:
    scales = torch.empty((*codes.shape[:-1], 0), dtype=torch.bfloat16)
    setattr(module, name, nn.Parameter(codes, requires_grad=False))
    setattr(module, f"{name}_scale", nn.Parameter(scales, requires_grad=False))
