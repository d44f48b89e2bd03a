"""Low-rank adapters (arXiv 2106.09685) on attention, shared and routed experts, through peft."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch

from vl2.errors import MissingExtraError
from vl2.model.configuration import DeepseekVLV2Config, DeepseekVLV2LanguageConfig
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.train.ranks import is_first

LINEAR = (
    "q_proj|k_proj|v_proj|q_a_proj|q_b_proj|kv_a_proj_with_mqa|kv_b_proj|o_proj"
    "|gate_proj|up_proj|down_proj"
)
TARGETS = rf".*language_model\.layers\.\d+\.(self_attn|mlp|mlp\.shared_experts)\.({LINEAR})"
"""Linear maps of the language model that get an adapter, as a pattern for peft."""
EXPERTS = ("mlp.experts.gate_up_proj", "mlp.experts.down_proj")
"""The merged experts that get one; peft keeps one adapter for each expert of a layer."""


def add_adapters(model: DeepseekVLV2ForCausalLM, rank: int, alpha: float) -> Any:  # noqa: ANN401
    """A model whose adapters alone learn; a `peft.PeftModel` around `model`.

    Args:
        model: changed in place.
        rank: of the adapters.
        alpha: their factor, divided by the rank.

    Raises:
        MissingExtraError: peft is not installed.
    """
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError.for_extra("train", "Training of adapters") from error
    config = peft.LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=TARGETS, target_parameters=list(EXPERTS)
    )
    return peft.get_peft_model(cast("Any", model), config)


def merged(learner: Any, folder: Path) -> DeepseekVLV2ForCausalLM:  # noqa: ANN401
    """Save the adapters of a model by themselves, and take them up into its weights.

    Args:
        learner: what `add_adapters` gave.
        folder: takes the adapters, in peft's files.
    """
    if is_first():
        learner.save_pretrained(folder)
    return learner.merge_and_unload()


def adapter_parameters(config: DeepseekVLV2Config, rank: int) -> int:
    """How many numbers adapters of a rank add to a model; 0 for rank 0."""
    language = cast("DeepseekVLV2LanguageConfig", config.language_config)
    experts = language.n_routed_experts or 0
    if not rank:
        return 0
    with torch.device("meta"):
        model = DeepseekVLV2ForCausalLM(config)
    total = 0
    for name, parameter in model.model.language_model.layers.named_parameters():
        if ".experts." in name:
            total += experts * rank * (parameter.shape[1] + parameter.shape[2])
        elif parameter.ndim == 2 and not name.endswith("gate.weight"):
            total += rank * sum(parameter.shape)
    return total
