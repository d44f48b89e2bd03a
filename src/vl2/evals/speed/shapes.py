"""Models of a released shape with random weights, made without a checkpoint.

Speed does not depend on what the weights are, only on their shapes and types, and on how evenly
the router spreads the tokens, which random weights do.
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from vl2.engine.sources import EMBEDDED, find_checkpoint
from vl2.model.configuration import DeepseekVLV2Config
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.processing.processor import DeepseekVLV2Processor
from vl2.quantization.plan import VL2QuantizationConfig
from vl2.quantization.quantizer import replace_modules

_STEP = 2.0**-11
"""Scale of quantised weights: with codes of 8 bits a deviation of about 0.04, with 4 bits 0.002."""


def random_model(
    config: DeepseekVLV2Config, dtype: torch.dtype, plan: VL2QuantizationConfig | None = None
) -> DeepseekVLV2ForCausalLM:
    """A model with random weights on the CPU; quantised ones never exist in full.

    Args:
        config: its shape.
        dtype: of the weights that are not quantised.
        plan: how they are quantised; None for not at all.
    """
    with torch.device("meta"):
        model = DeepseekVLV2ForCausalLM(config)
    if plan is not None:
        replace_modules(model, plan)
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            made = _random(name, parameter, dtype, generator)
            setattr(module, name, nn.Parameter(made, requires_grad=False))
        for name, buffer in module.named_buffers(recurse=False):
            module.register_buffer(name, torch.zeros(buffer.shape, dtype=buffer.dtype))
    return model.eval()


def _random(
    name: str, like: torch.Tensor, dtype: torch.dtype, generator: torch.Generator
) -> torch.Tensor:
    if like.dtype == torch.uint8:
        # Eight bytes at a time: there may be 14 GB of them.
        words = torch.empty(-(-like.numel() // 8), dtype=torch.int64)
        words.random_(-(2**63), None, generator=generator)
        return words.view(torch.uint8)[: like.numel()].view(like.shape)
    if name.endswith("_scale"):
        return torch.full(like.shape, _STEP, dtype=torch.bfloat16)
    if like.ndim == 1:
        return torch.ones(like.shape, dtype=dtype)
    return torch.empty(like.shape, dtype=dtype).normal_(std=0.02, generator=generator)


def processor_for(config: DeepseekVLV2Config) -> DeepseekVLV2Processor:
    """A processor that cuts pictures as a model of this shape wants them.

    The words are those of the embedded model: which tokens come out means nothing anyway. The
    configuration gets its id of `<image>`.
    """
    tokenizer = PreTrainedTokenizerFast.from_pretrained(find_checkpoint(EMBEDDED))
    processor = DeepseekVLV2Processor(
        tokenizer,
        config.candidate_resolutions,
        config.vision_config.patch_size,
        config.projector_config.downsample_ratio,
        max_position_embeddings=config.language_config.max_position_embeddings,
    )
    config.image_token_id = processor.image_token_id
    return processor
