"""Making transformers know the quantisation method of this package."""

from transformers.quantizers.auto import (
    AUTO_QUANTIZATION_CONFIG_MAPPING,
    register_quantization_config,
    register_quantizer,
)

from vl2.model.configuration_keys import QUANTIZATION_METHOD
from vl2.quantization.plan import VL2QuantizationConfig
from vl2.quantization.quantizer import VL2Quantizer


def register() -> None:
    """Registers the method; again is harmless."""
    if QUANTIZATION_METHOD not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        register_quantization_config(QUANTIZATION_METHOD)(VL2QuantizationConfig)
        register_quantizer(QUANTIZATION_METHOD)(VL2Quantizer)
