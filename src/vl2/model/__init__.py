"""The DeepSeek-VL2 model for transformers: configuration, classes, cache, checkpoints."""

from vl2.model.configuration import (
    DeepseekVLV2Config,
    DeepseekVLV2LanguageConfig,
    DeepseekVLV2ProjectorConfig,
    DeepseekVLV2VisionConfig,
)
from vl2.model.language import DeepseekVLV2LanguageModel
from vl2.model.modeling import DeepseekVLV2ForCausalLM, DeepseekVLV2Model
from vl2.model.vision import DeepseekVLV2VisionModel

__all__ = [
    "DeepseekVLV2Config",
    "DeepseekVLV2ForCausalLM",
    "DeepseekVLV2LanguageConfig",
    "DeepseekVLV2LanguageModel",
    "DeepseekVLV2Model",
    "DeepseekVLV2ProjectorConfig",
    "DeepseekVLV2VisionConfig",
    "DeepseekVLV2VisionModel",
]
