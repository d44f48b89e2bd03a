"""Modules with quantised weights against those whose places they take."""

import copy
import pickle

import pytest
import torch
from model_inputs import close, mini_config
from torch import nn

from vl2.model.layers import DeepseekVLV2Experts, DeepseekVLV2MLP, DeepseekVLV2MoE
from vl2.model.vision import DeepseekVLV2VisionMLP
from vl2.ops.groupwise import Scheme
from vl2.quantization import modules
from vl2.quantization.modules import (
    QuantisedExperts,
    QuantisedLinear,
    QuantisedMLP,
    QuantisedMoE,
    QuantisedVisionMLP,
)

# Activations are rounded to 8 bits by the kernels, and not by torch.
TOLERANCE = {"torch": 1e-5, "kernels": 3e-2}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def randomise(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.requires_grad_(False).eval()


def fill(module, values):
    for name, value in values.items():
        setattr(module, name, nn.Parameter(value, requires_grad=False))


def quantised_linear(linear, scheme):
    made = QuantisedLinear(
        linear.in_features, linear.out_features, scheme, bias=linear.bias is not None
    )
    fill(made, made.quantised("weight", linear.weight))
    made.bias = linear.bias
    # The plain one gets the rounded weight: what is compared is the arithmetic.
    linear.weight = nn.Parameter(made.restored(torch.float32), requires_grad=False)
    return made


def quantised_moe(moe, scheme):
    experts = QuantisedExperts(moe.experts, scheme)
    for name in ("gate_up_proj", "down_proj"):
        fill(experts, experts.quantised(name, getattr(moe.experts, name)))
        restored = experts.restored(name, torch.float32)
        setattr(moe.experts, name, nn.Parameter(restored, requires_grad=False))
    made = copy.deepcopy(moe)
    made.experts, made.shared_experts = experts, quantised_mlp(moe.shared_experts, scheme)
    return QuantisedMoE(made)


def quantised_mlp(mlp, scheme):
    made = copy.deepcopy(mlp)
    for name in ("gate_proj", "up_proj", "down_proj"):
        setattr(made, name, quantised_linear(getattr(mlp, name), scheme))
    return QuantisedMLP(made)


def language_config(**changes):
    return mini_config("small", **changes).language_config


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(computed_by, bits, bias):
    linear = randomise(nn.Linear(70, 37, bias=bias))
    made = quantised_linear(linear, Scheme(bits))
    x = torch.randn(2, 5, 70)
    close(made(x), linear(x), TOLERANCE[computed_by])


@pytest.mark.parametrize("tokens", [1, 9])
def test_mlp(computed_by, tokens):
    mlp = randomise(DeepseekVLV2MLP(language_config(), 48))
    made = quantised_mlp(mlp, Scheme(4))
    x = torch.randn(1, tokens, 32)
    close(made(x), mlp(x), TOLERANCE[computed_by])


def test_vision_mlp_in_pieces(computed_by, monkeypatch):
    mlp = randomise(DeepseekVLV2VisionMLP(mini_config("small").vision_config))
    plain = copy.deepcopy(mlp)
    for name in ("fc1", "fc2"):
        setattr(mlp, name, quantised_linear(getattr(plain, name), Scheme(8)))
    made, x = QuantisedVisionMLP(mlp), torch.randn(2, 7, plain.fc1.in_features)
    whole = made(x)
    close(whole, plain(x), TOLERANCE[computed_by])
    monkeypatch.setattr(modules, "_PIECE", 4)  # some pieces hold patches of both tiles
    assert torch.allclose(made(x), whole, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("inner", [16, 40])
@pytest.mark.parametrize("tokens", [1, 30])
def test_mixture(computed_by, tokens, inner):
    moe = randomise(DeepseekVLV2MoE(language_config(moe_intermediate_size=inner)))
    made = quantised_moe(moe, Scheme(8))
    x = torch.randn(1, tokens, 32)
    close(made(x), moe(x), TOLERANCE[computed_by])


def test_experts_alone(computed_by):
    experts = randomise(DeepseekVLV2Experts(language_config()))
    made = QuantisedExperts(experts, Scheme(4))
    for name in ("gate_up_proj", "down_proj"):
        fill(made, made.quantised(name, getattr(experts, name)))
        restored = made.restored(name, torch.float32)
        setattr(experts, name, nn.Parameter(restored, requires_grad=False))
    x, weights = torch.randn(20, 32), torch.rand(20, 2)
    # One more than there are experts: it stands for none.
    indices = torch.randint(0, 7, (20, 2))
    close(made(x, indices, weights), experts(x, indices, weights), TOLERANCE[computed_by])


def test_another_activation_is_left_to_torch(computed_by):
    moe = randomise(DeepseekVLV2MoE(language_config(hidden_act="gelu")))
    made = quantised_moe(moe, Scheme(8))
    x = torch.randn(1, 6, 32)
    # The routed experts are torch's; the maps of the shared ones may be the kernels'.
    close(made(x), moe(x), TOLERANCE[computed_by])


def test_float16_stays_finite():
    """Inner products beyond 65504 are divided before they are stored, as everywhere."""
    moe = randomise(DeepseekVLV2MoE(language_config()))
    made = quantised_moe(moe, Scheme(8)).to(torch.float16)
    assert made.experts.down_proj_scale.dtype == torch.bfloat16
    x = torch.full((1, 3, 32), 300.0)
    x[..., ::2] *= -1
    given, wanted = made(x.to(torch.float16)), moe(x)
    assert wanted.abs().max() > 65504
    assert given.dtype == torch.float32
    close(given, wanted, 1e-2)


def test_gradients_pass_through_to_the_input(computed_by):
    linear = randomise(nn.Linear(64, 16))
    made = quantised_linear(linear, Scheme(8))
    x = torch.randn(3, 64, requires_grad=True)
    made(x).sum().backward()
    close(x.grad, linear.weight.sum(0).expand(3, 64))


def test_casting_keeps_the_scales(computed_by):
    made = quantised_linear(randomise(nn.Linear(64, 16)), Scheme(4))
    x = torch.randn(3, 64)
    before = made(x)
    scales = made.weight_scale.clone()
    for dtype in (torch.float16, torch.float64, torch.float32):
        made.to(dtype)
        assert torch.equal(made.weight_scale, scales)
        assert made.weight.dtype == torch.uint8
        assert made.bias.dtype == dtype
    close(made(x), before, 1e-3)  # the bias went through float16


def test_a_new_weight_is_noticed(computed_by):
    made = quantised_linear(randomise(nn.Linear(64, 16, bias=False)), Scheme(8))
    other = quantised_linear(randomise(nn.Linear(64, 16, bias=False)), Scheme(8))
    x = torch.randn(2, 64)
    made(x)
    made.weight, made.weight_scale = other.weight, other.weight_scale
    assert torch.equal(made(x), other(x))


def test_modules_can_be_copied_and_pickled(computed_by):
    made = quantised_moe(randomise(DeepseekVLV2MoE(language_config())), Scheme(8))
    x = torch.randn(1, 2, 32)
    expected = made(x)
    assert torch.equal(copy.deepcopy(made)(x), expected)
    assert torch.equal(pickle.loads(pickle.dumps(made))(x), expected)
