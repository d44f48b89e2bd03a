"""Making transformers know the quantisation method of this package."""

from transformers.quantizers.auto import (
    AUTO_QUANTIZATION_CONFIG_MAPPING,
    register_quantization_config,
    register_quantizer,
)

from vl2.quantization.plan import METHOD, VL2QuantizationConfig
from vl2.quantization.quantizer import VL2Quantizer


def register() -> None:
    """Registers the method; again is harmless."""
    if METHOD not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        register_quantization_config(METHOD)(VL2QuantizationConfig)
        register_quantizer(METHOD)(VL2Quantizer)
