"""The quantiser that transformers calls while it loads a checkpoint.

With a quantised checkpoint, the modules are replaced before their tensors are read. With a plain
one and a `quantization_config`, each weight is quantised as soon as it has been read, so that the
plain ones are never in memory together.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.core_model_loading import ConversionOps, WeightConverter, WeightRenaming
from transformers.quantizers import HfQuantizer

from vl2.model.conversion import expert_conversions
from vl2.model.layers import DeepseekVLV2Experts, DeepseekVLV2MLP, DeepseekVLV2MoE
from vl2.model.vision import DeepseekVLV2VisionMLP
from vl2.ops.kernels.library import tell_if_missing
from vl2.quantization.modules import (
    QuantisedExperts,
    QuantisedLinear,
    QuantisedMLP,
    QuantisedMoE,
    QuantisedVisionMLP,
)
from vl2.quantization.plan import VL2QuantizationConfig, part_of


class VL2Quantizer(HfQuantizer):
    """Replaces modules, quantises what is not quantised yet, and keeps scales as they are."""

    requires_calibration = False
    quantization_config: VL2QuantizationConfig  # pyrefly: ignore[bad-override-mutable-attribute]

    def __init__(self, quantization_config: VL2QuantizationConfig, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(quantization_config, **kwargs)
        self._dtype = torch.float32

    def update_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Remembers the type that unquantised weights shall have."""
        self._dtype = dtype or self._dtype
        return dtype

    def param_needs_quantization(
        self,
        model: PreTrainedModel,
        param_name: str,
        **kwargs: Any,  # noqa: ANN401
    ) -> bool:
        """Whether a parameter has to be quantised while it is loaded."""
        module, _, name = param_name.rpartition(".")
        if self.pre_quantized:
            return False
        target = model.get_submodule(module)
        return isinstance(target, (QuantisedLinear, QuantisedExperts)) and name in target.weights

    def get_quantize_ops(self) -> ConversionOps:
        """What quantises a parameter that has been read."""
        return _Quantise()

    def update_weight_conversions(
        self,
        weight_conversions: list[WeightRenaming | WeightConverter],
        model: PreTrainedModel | None = None,
    ) -> list[WeightRenaming | WeightConverter]:
        """Merges the scales of the experts as their weights are merged."""
        return [*expert_conversions("_scale"), *weight_conversions]

    def _process_model_before_weight_loading(
        self,
        model: PreTrainedModel,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        replace_modules(model, self.quantization_config, quantised=self.pre_quantized)
        tell_if_missing()

    def _process_model_after_weight_loading(
        self,
        model: PreTrainedModel,
        **kwargs: Any,  # noqa: ANN401
    ) -> PreTrainedModel:
        if not self.pre_quantized:
            # Conversions that loading had no use for are forgotten; saving will need these.
            used: Any = model._weight_conversions
            kept: Any = [*expert_conversions("_scale"), *used]
            model._weight_conversions = kept
        # Some versions of transformers load what lies beside quantised weights in its own type.
        for name, parameter in model.named_parameters():
            plain = parameter.is_floating_point() and not name.endswith("_scale")
            if plain and parameter.dtype != self._dtype:
                parameter.data = parameter.data.to(self._dtype)
        return model

    def is_serializable(self) -> bool:  # pyrefly: ignore[bad-override]
        """Models can be saved as they are, and load without a flag."""
        return True

    @property
    def is_trainable(self) -> bool:  # pyrefly: ignore[bad-override]
        """Quantised weights have no gradient."""
        return False


class _Quantise(ConversionOps):
    """Turns the weight that was read into codes and scales."""

    def convert(  # pyrefly: ignore[bad-override]
        self,
        input_dict: dict[str, Any],
        model: nn.Module,
        full_layer_name: str,
        missing_keys: set[str] | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> dict[str, torch.Tensor]:
        """Quantises one parameter, named in full."""
        (name, value), *_ = input_dict.items()
        weight = value[0] if isinstance(value, list) else value
        path, _, leaf = name.rpartition(".")
        module = model.get_submodule(path)
        assert isinstance(module, (QuantisedLinear, QuantisedExperts))
        made = module.quantised(leaf, weight)
        if missing_keys is not None:
            missing_keys -= {f"{path}.{key}" for key in made}
        return {f"{path}.{key}": tensor for key, tensor in made.items()}


def replace_modules(
    model: PreTrainedModel, config: VL2QuantizationConfig, *, quantised: bool = True
) -> None:
    """Puts modules with quantised weights in the places of the plain ones.

    Args:
        model: on the meta device.
        config: what is quantised, and how.
        quantised: false if the weights will be quantised while they are loaded.
    """
    tied = model.config.tie_word_embeddings
    for name, module in list(model.named_modules()):
        # A head that shares its weight with the token embedding is kept as that is.
        scheme = None if tied and part_of(name) == "head" else config.scheme(name)
        replacement: nn.Module | None = None
        if scheme is not None and isinstance(module, nn.Linear):
            with torch.device("meta"):
                replacement = QuantisedLinear(
                    module.in_features,
                    module.out_features,
                    scheme,
                    bias=module.bias is not None,
                    quantised=quantised,
                )
        elif scheme is not None and isinstance(module, DeepseekVLV2Experts):
            with torch.device("meta"):
                replacement = QuantisedExperts(module, scheme, quantised=quantised)
        if replacement is not None:
            model.set_submodule(name, replacement)
    join_parts(model)


def join_parts(model: nn.Module) -> None:
    """Lets MLPs and mixtures of experts whose maps are all packed compute in one call."""
    for name, module in list(model.named_modules()):
        if isinstance(module, DeepseekVLV2MLP):
            maps = (module.gate_proj, module.up_proj, module.down_proj)
            if all(isinstance(part, QuantisedLinear) for part in maps):
                model.set_submodule(name, QuantisedMLP(module))
        elif isinstance(module, DeepseekVLV2VisionMLP):
            maps = (module.fc1, module.fc2)
            if all(isinstance(part, QuantisedLinear) for part in maps):
                model.set_submodule(name, QuantisedVisionMLP(module))
    for name, module in list(model.named_modules()):
        if isinstance(module, DeepseekVLV2MoE) and isinstance(module.experts, QuantisedExperts):
            model.set_submodule(name, QuantisedMoE(module))
