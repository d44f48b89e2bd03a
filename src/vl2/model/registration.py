"""Making transformers' Auto classes know `deepseek_vl_v2`."""

import functools

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoProcessor,
)

from vl2.model.configuration import DeepseekVLV2Config
from vl2.model.conversion import register_conversions
from vl2.model.modeling import DeepseekVLV2ForCausalLM, DeepseekVLV2Model
from vl2.processing.processor import DeepseekVLV2Processor


@functools.cache
def register() -> None:
    """Registers configuration, models, processor and checkpoint conversion, once.

    A second call does nothing, so what others register in the meantime stays.
    """
    AutoConfig.register(DeepseekVLV2Config.model_type, DeepseekVLV2Config, exist_ok=True)
    AutoModel.register(DeepseekVLV2Config, DeepseekVLV2Model, exist_ok=True)
    for auto in (AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM):
        auto.register(DeepseekVLV2Config, DeepseekVLV2ForCausalLM, exist_ok=True)
    AutoProcessor.register(DeepseekVLV2Config, DeepseekVLV2Processor, exist_ok=True)
    register_conversions()
