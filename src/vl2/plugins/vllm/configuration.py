"""A checkpoint's configuration as vLLM's classes read it, with nothing left to their defaults.

The released files leave out what the original classes have as defaults. Those of vLLM differ: for
the largest model it would build 32 decoder layers instead of 30.
"""

from __future__ import annotations

from typing import Any

from vllm.transformers_utils.configs.deepseek_vl2 import DeepseekVLV2Config

from vl2.model.configuration import DeepseekVLV2LanguageConfig, config_from_dict

_LATENT_SIZES = (576,)
"""Widths of a latent and its rotated part that vLLM has kernels for."""

_EXPANDED = "deepseek_v2_expanded"
"""A name that vLLM does not take for one of a model with latent attention."""

_WITHOUT_LATENT = {
    "kv_lora_rank": None,
    "q_lora_rank": None,
    "qk_nope_head_dim": 0,
    "qk_rope_head_dim": 0,
    "v_head_dim": 0,
}


class CompleteConfig(DeepseekVLV2Config):
    """vLLM's class, given every value.

    DeepSeek-OCR, which shares the model type, is left as it is. Latents of widths that vLLM has no
    kernels for are expanded to keys and values before they go to its cache.
    """

    has_no_defaults_at_init = True

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - JSON
        if any("OCR" in str(name) for name in kwargs.get("architectures") or ()):
            super().__init__(**kwargs)
            return
        own = config_from_dict(kwargs)
        language = own.language_config
        super().__init__(**{**own.to_dict(), "language_config": _values(language)})
        self.vision_config = own.vision_config
        self.projector_config = own.projector_config
        latent = language.latent_dims
        if language.use_mla and latent.rank + latent.rope not in _LATENT_SIZES:
            self.text_config.model_type = _EXPANDED
            self.text_config.head_dim = latent.nope + latent.rope


def _values(config: DeepseekVLV2LanguageConfig) -> dict[str, Any]:
    values = {**config.to_dict(), "moe_router_dtype": "float32"}
    return values if config.use_mla else {**values, **_WITHOUT_LATENT}
