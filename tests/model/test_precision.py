"""What must stay exact when the model is cast, and what must stay finite in float16."""

import pytest
import torch
from golden import checkpoint
from model_inputs import close, inputs_of, left_padded, mini_model, mini_prompt, model_of

from vl2.model.loading import load_model
from vl2.ops import rope

VARIANTS = ("tiny", "small", "base")
everywhere = pytest.mark.parametrize("variant", VARIANTS)
LAST = 4095


def cast_to(model, how):
    return model.to(torch.bfloat16) if how == "to" else getattr(model, how)()


def tables_seen(model, position, monkeypatch):
    """The rotary tables that the layers get for a token at a position."""
    seen = []
    layer = model.model.language_model.layers[-1]
    forward = layer.self_attn.forward
    monkeypatch.setattr(
        layer.self_attn,
        "forward",
        lambda x, **kw: seen.append(kw["position_embeddings"]) or forward(x, **kw),
    )
    with torch.no_grad():
        model(input_ids=torch.tensor([[7]]), position_ids=torch.tensor([[position]]))
    return seen[0]


@everywhere
@pytest.mark.parametrize("how", ["to", "half", "bfloat16"])
def test_rotary_tables_at_the_last_position_survive_a_cast(variant, how, monkeypatch):
    model = mini_model(variant)
    before = tables_seen(model, LAST, monkeypatch)
    after = tables_seen(cast_to(model, how), LAST, monkeypatch)
    for left, right in zip(before, after, strict=True):
        assert left.dtype == right.dtype == torch.float32
        assert torch.equal(left, right)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rotary_tables_at_the_last_position_survive_loading(dtype, monkeypatch):
    model = load_model(checkpoint("base"), dtype=dtype)
    cos, _ = tables_seen(model, LAST, monkeypatch)
    config = model.config.language_config
    exact, _ = rope.rotary_tables(torch.tensor([[LAST]]), config.head_dim, config.rope_theta)
    assert torch.equal(cos, exact)


@everywhere
def test_neighbours_far_out_stay_apart_in_bfloat16(variant, monkeypatch):
    """The original's README recipe gives positions 256 to 511 in steps of two."""
    model = mini_model(variant).to(torch.bfloat16)
    seen = {
        tables_seen(model, position, monkeypatch)[0].sum().item() for position in range(300, 310)
    }
    assert len(seen) == 10


@pytest.mark.parametrize("how", ["to", "half", "bfloat16"])
def test_the_correction_bias_stays_float32(how):
    model = mini_model("base")
    gate = model.model.language_model.layers[1].mlp.gate
    before = gate.e_score_correction_bias.clone()
    cast_to(model, how)
    assert gate.weight.dtype != torch.float32
    assert gate.e_score_correction_bias.dtype == torch.float32
    assert torch.equal(gate.e_score_correction_bias, before)


def test_the_correction_bias_moves_with_the_model():
    model = mini_model("base").to("meta", torch.bfloat16)
    assert model.model.language_model.layers[1].mlp.gate.e_score_correction_bias.is_meta


def near(rough, exact):
    """Asserts that two results agree on the whole: rounding may send a token to another expert."""
    error = (rough.float() - exact).abs().mean() / exact.abs().mean()
    assert error < 0.1, f"differs by {error:.3f}"


def blow_up(model, factor):
    """Makes the activations of the dense layer and of the experts pass 65504."""
    for layer in model.model.language_model.layers:
        mlp = layer.mlp
        parts = [mlp] if hasattr(mlp, "up_proj") else [mlp.shared_experts]
        for part in parts:
            part.up_proj.weight.data *= factor
            part.gate_proj.weight.data *= factor
        if hasattr(mlp, "experts"):
            mlp.experts.gate_up_proj.data *= factor


@everywhere
@pytest.mark.parametrize("experts", ["grouped_mm", "eager", "batched_mm"])
def test_float16_stays_finite_and_right_with_large_activations(variant, experts):
    model = mini_model(variant)
    blow_up(model, 300.0)
    model.set_experts_implementation(experts)
    prompt = left_padded([mini_prompt([(1, 2)]), mini_prompt([])])
    with torch.no_grad():
        exact = model(**prompt, output_hidden_states=True)
        assert exact.hidden_states[-2].abs().max() > 65504
        half = model.half()(**prompt, output_hidden_states=True)
    assert all(state.dtype == torch.float32 for state in half.hidden_states[:-1])
    real = prompt["attention_mask"].bool()
    assert half.logits.isfinite().all()
    close(half.logits[real].float(), exact.logits[real], 3e-2)


def test_float16_vision_tower_stays_finite_with_large_activations():
    tower = mini_model("tiny").model.vision_tower
    for block in tower.blocks:
        block.mlp.fc2.bias.data[3] = 40000.0
    tiles = mini_prompt([(1, 1)])["pixel_values"]
    with torch.no_grad():
        exact = tower(tiles)
        half = tower.half()(tiles)
    assert half.isfinite().all()
    near(half, exact)


@everywhere
def test_float16_generates_the_same_as_float32(variant):
    prompt = inputs_of(variant, "whitespace")
    with torch.no_grad():
        half = load_model(checkpoint(variant), dtype=torch.float16)(**prompt, logits_to_keep=4)
        exact = model_of(variant)(**prompt, logits_to_keep=4)
    close(half.logits.float(), exact.logits, 2e-2)


@everywhere
def test_float16_decodes_finite(variant):
    model = mini_model(variant)
    blow_up(model, 300.0)
    out = model.half().generate(
        **mini_prompt([(1, 1)]), max_new_tokens=6, output_logits=True, return_dict_in_generate=True
    )
    assert all(logits.isfinite().all() for logits in out.logits)


@everywhere
def test_bfloat16_is_near_float32(variant):
    prompt = inputs_of(variant, "whitespace")
    with torch.no_grad():
        rough = load_model(checkpoint(variant), dtype=torch.bfloat16)(**prompt, logits_to_keep=4)
        exact = model_of(variant)(**prompt, logits_to_keep=4)
    near(rough.logits, exact.logits)


@everywhere
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_near_float32(variant, dtype):
    model, prompt = mini_model(variant), mini_prompt([(1, 2)])
    with torch.no_grad():
        exact = model(**prompt).logits
        with torch.autocast("cpu", dtype):
            rough = model(**prompt).logits
    near(rough, exact)
