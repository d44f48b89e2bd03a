import pytest
import torch
from model_inputs import close, mini_model, mini_prompt

VARIANTS = ("tiny", "small", "base")
everywhere = pytest.mark.parametrize("variant", VARIANTS)


@everywhere
def test_attention_kernels_agree(variant):
    model, prompt = mini_model(variant), mini_prompt([(1, 2)])
    with torch.no_grad():
        fused = model(**prompt).logits
        model.set_attn_implementation("eager")
        close(model(**prompt).logits, fused, 1e-5)


@everywhere
def test_experts_kernels_agree(variant):
    model, prompt = mini_model(variant), mini_prompt([(1, 2)])
    with torch.no_grad():
        expected = model(**prompt).logits
        for implementation in ("eager", "batched_mm"):
            model.set_experts_implementation(implementation)
            close(model(**prompt).logits, expected, 1e-5)


@everywhere
def test_attention_weights_are_shown_on_request(variant):
    model = mini_model(variant)
    model.set_attn_implementation("eager")
    ids = torch.randint(6, 60, (2, 5))
    outputs = model(input_ids=ids, output_attentions=True)
    assert [tuple(weights.shape) for weights in outputs.attentions] == [(2, 4, 5, 5)] * 3
    assert (outputs.attentions[0].triu(1) == 0).all()
    later = model(
        input_ids=ids[:, :1], past_key_values=outputs.past_key_values, output_attentions=True
    )
    assert [tuple(weights.shape) for weights in later.attentions] == [(2, 4, 1, 6)] * 3


@everywhere
def test_hidden_states_are_shown_on_request(variant):
    model, prompt = mini_model(variant), mini_prompt([])
    outputs = model(**prompt, output_hidden_states=True)
    assert len(outputs.hidden_states) == 4
    torch.testing.assert_close(model.lm_head(outputs.hidden_states[-1]), outputs.logits)


@everywhere
def test_shared_heads_and_compressed_queries(variant):
    """Shapes that no release uses and the configuration allows."""
    shape = {"num_key_value_heads": 2} if variant == "tiny" else {"q_lora_rank": 12}
    model, prompt = mini_model(variant, **shape), mini_prompt([])
    with torch.no_grad():
        whole = model(**prompt).logits
        ids = prompt["input_ids"]
        first = model(input_ids=ids[:, :4])
        rest = model(input_ids=ids[:, 4:], past_key_values=first.past_key_values)
    close(torch.cat((first.logits, rest.logits), dim=1), whole, 1e-5)


@pytest.mark.parametrize(
    "shape",
    [
        {"moe_layer_freq": 2, "first_k_dense_replace": 0},
        {"n_routed_experts": None, "num_experts_per_tok": None},
        {"n_shared_experts": None},
    ],
    ids=["every_second", "dense", "none_shared"],
)
def test_other_stacks_of_layers(shape):
    model = mini_model("small", **shape)
    sparse = [hasattr(layer.mlp, "experts") for layer in model.model.language_model.layers]
    assert sum(sparse) == (0 if "n_routed_experts" in shape else 2)
    outputs = model(**mini_prompt([(1, 1)]), output_router_logits=True)
    assert outputs.logits.isfinite().all()
    assert (outputs.aux_loss is None) == (not any(sparse))


@everywhere
def test_the_forward_pass_is_one_graph(variant):
    model = mini_model(variant).model.language_model
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    ids = torch.randint(6, 60, (2, 7))
    with torch.no_grad():
        expected = model(input_ids=ids, use_cache=False).last_hidden_state
        close(compiled(input_ids=ids, use_cache=False).last_hidden_state, expected, 1e-6)


@everywhere
def test_parallel_plans_name_real_parts(variant):
    model = mini_model(variant)
    names = {name for name, _ in model.named_modules()} | set(dict(model.named_parameters()))
    layers = {name.replace(".1.", ".*.").replace(".0.", ".*.") for name in names}
    mla = {"q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj"}
    mha = {"k_proj", "v_proj"}
    absent = (mha | {"q_b_proj"}) if variant != "tiny" else mla
    plan = {key.removesuffix(".weight") for key in model.tp_plan}
    unmatched = {key.rsplit(".", 1)[-1] for key in plan - layers}
    assert unmatched == absent
