import pytest
import torch
from model_inputs import close, left_padded, mini_model, mini_prompt

from vl2.errors import InputError
from vl2.train.attention import use_cpu_training_attention

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
@pytest.mark.parametrize("kernels", ["eager", "sdpa"])
def test_attention_weights_are_shown_on_request(variant, kernels):
    model = mini_model(variant)
    model.set_attn_implementation(kernels)
    ids = torch.randint(6, 60, (2, 5))
    outputs = model(input_ids=ids, output_attentions=True)
    assert [tuple(weights.shape) for weights in outputs.attentions] == [(2, 4, 5, 5)] * 3
    assert (outputs.attentions[0].triu(1) == 0).all()
    torch.testing.assert_close(outputs.attentions[2].sum(-1), torch.ones(2, 4, 5))
    close(outputs.logits, model(input_ids=ids).logits, 1e-5)
    later = model(
        input_ids=ids[:, :1], past_key_values=outputs.past_key_values, output_attentions=True
    )
    assert [tuple(weights.shape) for weights in later.attentions] == [(2, 4, 1, 6)] * 3


@everywhere
def test_attention_weights_do_not_depend_on_the_kernels(variant):
    model = mini_model(variant)
    batch = left_padded([mini_prompt([(1, 1)]), mini_prompt([], words=4)])
    shown = []
    for kernels in ("eager", "sdpa"):
        model.set_attn_implementation(kernels)
        shown.append(torch.stack(model(**batch, output_attentions=True).attentions))
    close(shown[1][:, :, :, -4:], shown[0][:, :, :, -4:], 1e-5)
    assert (shown[0][:, 1, :, -4:, :-5] == 0).all(), "padding is seen"


def test_generation_shows_attention_weights():
    model, ids = mini_model("small"), torch.randint(6, 60, (1, 4))
    for cache in ("dynamic", "static"):
        shown = model.generate(
            ids,
            max_new_tokens=3,
            min_new_tokens=3,
            do_sample=False,
            output_attentions=True,
            return_dict_in_generate=True,
            cache_implementation=cache,
        )
        assert [weights[0].shape[2] for weights in shown.attentions] == [4, 1, 1]


def test_kernels_without_weights_are_refused_by_name():
    model, ids = mini_model("small"), torch.randint(6, 60, (1, 4))
    use_cpu_training_attention(model)
    refusal = "'vl2_cpu_training' gives no attention weights; for output_attentions choose 'sdpa'"
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(InputError, match=refusal):
        model(input_ids=ids, output_attentions=True)


@pytest.mark.parametrize("part", ["the whole", "the language model"])
def test_what_the_configuration_asks_for_is_shown(part):
    model, ids = mini_model("small"), torch.randint(6, 60, (1, 4))
    model.set_attn_implementation("eager")
    config = model.config if part == "the whole" else model.config.language_config
    config.output_attentions = config.output_hidden_states = True
    outputs = model(input_ids=ids)
    assert (len(outputs.attentions), len(outputs.hidden_states)) == (3, 4)
    hidden = model(input_ids=ids, output_attentions=False, output_hidden_states=False)
    assert hidden.attentions is None
    assert hidden.hidden_states is None


@everywhere
def test_router_logits_are_shown_on_request(variant):
    model, ids = mini_model(variant), torch.randint(6, 60, (2, 5))
    outputs = model(input_ids=ids, output_router_logits=True)
    assert [tuple(logits.shape) for logits in outputs.router_logits] == [(10, 6)] * 2
    assert outputs.expert_load.sum(1).tolist() == [20, 20]
    assert model(input_ids=ids).router_logits is None


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
