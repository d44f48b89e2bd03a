"""`vl2.load(..., quantize=...)`."""

import golden
import pytest
import torch

import vl2
from vl2.engine.loading import load_parts
from vl2.errors import InputError
from vl2.quantization.modules import QuantisedMoE


def test_weights_are_quantised_while_they_are_read(nano):
    assistant = vl2.load(nano, device="cpu", quantize="int8")
    picture = golden.picture("640x480.png")
    one, two = (assistant.ask(picture, "What is it?", max_tokens=8).text for _ in range(2))
    assert one == two


def test_the_engine_sees_the_modules(nano):
    model, _ = load_parts(nano, "cpu", "float32", "int4")
    assert any(isinstance(module, QuantisedMoE) for module in model.modules())
    stored = [p for p in model.parameters() if p.dtype == torch.uint8]
    assert sum(p.numel() for p in stored) > 1e6


def test_an_unknown_scheme_is_refused_before_anything_is_read():
    with pytest.raises(InputError, match="'int2'"):
        vl2.load("nano", quantize="int2")
