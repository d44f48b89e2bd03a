"""What matters in a weight, measured."""

import pytest
import torch
from model_inputs import close, mini_model, mini_prompt
from safetensors import safe_open

from vl2.ops.groupwise import Scheme, dequantise
from vl2.quantization.calibration import measure_importance
from vl2.quantization.convert import quantise_checkpoint
from vl2.quantization.plan import VL2QuantizationConfig


@pytest.fixture
def model():
    return mini_model("small")


def test_it_is_the_mean_square_of_what_goes_in(model):
    seen = []
    layer = model.model.language_model.layers[1].self_attn.o_proj
    layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batches = [mini_prompt([(1, 1)], seed=seed) for seed in range(2)]
    found = measure_importance(model, batches)
    rows = torch.cat([x.flatten(0, -2) for x in seen])
    mean = rows.square().mean(0)
    name = "language.model.layers.1.self_attn.o_proj"
    close(found[name], mean + 0.01 * mean.mean(), 1e-5)
    assert not [hook for hook in layer._forward_pre_hooks.values() if "see" in repr(hook)]


def test_experts_count_the_tokens_that_visit_them(model):
    experts = model.model.language_model.layers[1].mlp.experts
    seen = []
    experts.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    found = measure_importance(model, [mini_prompt([], words=5)])
    ((x, indices, _),) = seen
    for expert in range(6):
        name = f"language.model.layers.1.mlp.experts.{expert}.up_proj"
        rows = x[(indices == expert).any(-1)]
        assert (name in found) == bool(len(rows))
        if len(rows):
            mean = rows.square().mean(0)
            close(found[name], mean + 0.01 * mean.mean(), 1e-5)


def test_all_that_is_quantised_is_measured(model, tmp_path):
    model.save_pretrained(tmp_path)
    found = measure_importance(model, [mini_prompt([(1, 2)])], answer_tokens=3)
    plan = VL2QuantizationConfig.named("int4")
    with safe_open(tmp_path / "model.safetensors", framework="pt") as stored:
        for name in stored.keys():  # noqa: SIM118 - not a mapping
            module = name.removesuffix(".weight")
            if plan.scheme(module) is not None and ".experts." not in name:
                assert found[module].shape == (stored.get_slice(name).get_shape()[1],), name


def test_it_makes_the_output_better(model, tmp_path):
    """Columns that carry most of the signal are kept better."""
    x = torch.randn(64, 32) * torch.logspace(0, -2, 32)
    model.save_pretrained(tmp_path / "plain")
    name = "language.model.layers.1.self_attn.o_proj"
    weight = model.model.language_model.layers[1].self_attn.o_proj.weight
    plan = VL2QuantizationConfig({"attention": 4}, 32)
    errors = []
    for given in (None, {name: x.square().mean(0)}):
        target = tmp_path / f"out{given is None}"
        quantise_checkpoint(tmp_path / "plain", target, plan, importance=given)
        with safe_open(target / "model.safetensors", framework="pt") as stored:
            codes, scales = (stored.get_tensor(f"{name}.weight{end}") for end in ("", "_scale"))
        restored = dequantise(codes, scales, Scheme(4, 32), *weight.shape, torch.float32)
        errors.append((x @ (restored - weight).t()).norm())
    assert errors[1] < 0.9 * errors[0]
