"""Low-rank adapters (arXiv 2106.09685) on attention, shared and routed experts, through peft."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch
from safetensors import SafetensorError

from vl2.errors import CheckpointError, MissingExtraError
from vl2.model.configuration import DeepseekVLV2Config, DeepseekVLV2LanguageConfig
from vl2.model.modeling import DeepseekVLV2ForCausalLM

_LINEAR = (
    "q_proj|k_proj|v_proj|q_a_proj|q_b_proj|kv_a_proj_with_mqa|kv_b_proj|o_proj"
    "|gate_proj|up_proj|down_proj"
)
_TARGETS = rf".*language_model\.layers\.\d+\.(self_attn|mlp|mlp\.shared_experts)\.({_LINEAR})"
_EXPERTS = ("mlp.experts.gate_up_proj", "mlp.experts.down_proj")
_FILES = ("adapter_config.json", "adapter_model.safetensors")


def add_adapters(model: DeepseekVLV2ForCausalLM, rank: int, alpha: float) -> Any:  # noqa: ANN401
    """A model whose adapters alone learn; a `peft.PeftModel` around `model`.

    All linear maps of the language model's layers get one, the shared experts' among them, and
    every routed expert has its own. Routers and the vision encoder stay as they are.

    Args:
        model: changed in place.
        rank: of the adapters.
        alpha: their factor, divided by the rank.

    Raises:
        MissingExtraError: peft is not installed.
    """
    peft = _peft()
    config = peft.LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=_TARGETS, target_parameters=list(_EXPERTS)
    )
    with _quiet():
        return peft.get_peft_model(cast("Any", model), config)


def merge_adapter(
    model: DeepseekVLV2ForCausalLM, folder: str | os.PathLike[str]
) -> DeepseekVLV2ForCausalLM:
    """Take saved adapters up into the weights of a model.

    Args:
        model: that they were trained for; changed in place.
        folder: with peft's `adapter_config.json` and `adapter_model.safetensors`.

    Raises:
        CheckpointError: the folder holds no adapters, or those of another model.
        MissingExtraError: peft is not installed.
    """
    folder = Path(folder)
    for name in _FILES:
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name} is absent: give the folder of an adapter.")
    if getattr(model, "hf_quantizer", None) is not None:
        raise CheckpointError(
            f"The adapter {folder} cannot be taken up into quantised weights: load the checkpoint "
            "that they were made from."
        )
    peft = _peft()
    try:
        with _quiet():
            adapted = peft.PeftModel.from_pretrained(cast("Any", model), folder)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"The adapter {folder} does not fit the model ({reason}).") from error
    return adapted.merge_and_unload().eval()


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


def _peft() -> ModuleType:
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError.for_extra("train", "An adapter") from error
    return peft


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the remark that peft asks the model by an old name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_activation_checkpointing", FutureWarning)
        yield
