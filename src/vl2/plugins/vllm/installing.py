"""Where in vLLM the model, its configuration, tokenizer and chat format have their places."""

from __future__ import annotations

from vllm.config import ModelConfig, VllmConfig
from vllm.model_executor.models import ModelRegistry
from vllm.model_executor.models.config import MODELS_CONFIG_MAP, VerifyAndUpdateConfig
from vllm.platforms import current_platform
from vllm.renderers.registry import RENDERER_REGISTRY
from vllm.tokenizers.registry import TokenizerRegistry
from vllm.transformers_utils.config import _CONFIG_REGISTRY

from vl2.plugins.vllm import ARCHITECTURE, MODE, MODEL_TYPE
from vl2.plugins.vllm.configuration import CompleteConfig

_ROTARY = "rotary_embedding"


class Defaults(VerifyAndUpdateConfig):
    """What an unset option of vLLM becomes for this model."""

    @staticmethod
    def verify_and_update_model_config(model_config: ModelConfig) -> None:
        """Chooses our tokenizer and chat format."""
        if model_config.tokenizer_mode == "auto":
            model_config.tokenizer_mode = MODE

    @staticmethod
    def verify_and_update_config(vllm_config: VllmConfig) -> None:
        """Keeps the CPU's kernel for rotary positions out, which takes heads for tokens.

        vLLM 0.32 hands it the queries `[t, h, d]` of latent attention, and it rotates `t` rows.
        """
        operations = vllm_config.compilation_config.custom_ops
        if current_platform.is_cpu() and not {_ROTARY, f"-{_ROTARY}"} & {
            name.removeprefix("+") for name in operations
        }:
            operations.append(f"-{_ROTARY}")


def install() -> None:
    """Fills the places."""
    ModelRegistry.register_model(ARCHITECTURE, "vl2.plugins.vllm.model:VL2ForCausalLM")
    MODELS_CONFIG_MAP[ARCHITECTURE] = Defaults
    _CONFIG_REGISTRY[MODEL_TYPE] = CompleteConfig
    TokenizerRegistry.tokenizers[MODE] = ("vl2.plugins.vllm.talking", "VL2Tokenizer")
    RENDERER_REGISTRY.renderers[MODE] = ("vl2.plugins.vllm.talking", "VL2Renderer")
