"""Models and processors with the original's face, that the tests of `vl2.dropin` share."""

import functools

import torch
from golden import checkpoint

from vl2.dropin.modeling import DeepseekVLV2ForCausalLM
from vl2.dropin.processing import DeepseekVLV2Processor


@functools.cache
def processor_of(variant: str) -> DeepseekVLV2Processor:
    """A golden checkpoint's processor; shared, so tests must not change it."""
    return DeepseekVLV2Processor.from_pretrained(checkpoint(variant))


@functools.cache
def model_of(variant: str) -> DeepseekVLV2ForCausalLM:
    """A golden checkpoint in float32; shared, so tests must not change it."""
    return DeepseekVLV2ForCausalLM.from_pretrained(checkpoint(variant), dtype=torch.float32).eval()
