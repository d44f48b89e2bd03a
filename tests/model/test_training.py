import pytest
import torch
from model_inputs import IMAGE, close, left_padded, mini_model, mini_prompt

from vl2.model.loss import keep_positions, supervised_positions
from vl2.ops.balance import plain_sequence_balance_loss

VARIANTS = ("tiny", "small", "base")
everywhere = pytest.mark.parametrize("variant", VARIANTS)
PROMPTS = [mini_prompt([(1, 2)], words=9, seed=1), mini_prompt([], words=14, seed=2)]


def training_batch():
    batch = left_padded(PROMPTS)
    labels = batch["input_ids"].clone()
    labels[(labels == IMAGE) | (batch["attention_mask"] == 0)] = -100
    labels[:, :-6] = -100
    return {**batch, "labels": labels}


def gradients(model):
    return {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


@everywhere
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("experts", ["grouped_mm", "eager"])
def test_every_parameter_learns(variant, autocast, experts):
    model = mini_model(variant).train()
    model.set_experts_implementation(experts)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = model(**training_batch(), output_router_logits=True).loss
    loss.backward()
    untouched = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert not untouched
    assert all(gradient.isfinite().all() for gradient in gradients(model).values())
    pool = [p for n, p in model.named_parameters() if "attn_pool" in n]
    assert len(pool) == 13
    assert not any(p.requires_grad for p in pool)


@everywhere
def test_gradients_under_autocast_are_near_the_exact_ones(variant):
    directions = []
    for autocast in (False, True):
        model = mini_model(variant).train()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = model(**training_batch()).loss
        loss.backward()
        directions.append(torch.cat([g.flatten() for g in gradients(model).values()]))
    assert torch.cosine_similarity(*directions, dim=0) > 0.97


@everywhere
def test_some_steps_bring_the_loss_down(variant):
    model, batch = mini_model(variant).train(), training_batch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@everywhere
def test_spared_logits_change_neither_loss_nor_gradients(variant):
    results = []
    for keep in (0, supervised_positions(training_batch()["labels"])):
        model = mini_model(variant).train()
        outputs = model(**training_batch(), logits_to_keep=keep)
        outputs.loss.backward()
        results.append((outputs, gradients(model)))
    (whole, exact), (spared, same) = results
    torch.testing.assert_close(spared.loss, whole.loss)
    assert spared.logits.shape == (12, 64)
    for name, gradient in exact.items():
        torch.testing.assert_close(same[name], gradient, rtol=1e-4, atol=1e-6)


def test_positions_to_keep():
    hidden = torch.arange(24.0).view(2, 4, 3)
    assert torch.equal(keep_positions(hidden, 0), hidden)
    assert torch.equal(keep_positions(hidden, 2), hidden[:, 2:])
    assert torch.equal(keep_positions(hidden, torch.tensor([3, 1])), hidden[:, [3, 1]])
    chosen = torch.tensor([[0, 2], [3, 1]])
    expected = torch.stack([hidden[row, chosen[row]] for row in range(2)])
    assert torch.equal(keep_positions(hidden, chosen), expected)
    mask = torch.tensor([[True, False, False, True], [False, True, False, False]])
    assert torch.equal(keep_positions(hidden, mask), hidden[mask])


def test_a_batch_without_supervision_teaches_nothing():
    model, batch = mini_model("base").train(), training_batch()
    batch["labels"][:] = -100
    loss = model(**batch).loss
    assert loss.item() == 0
    loss.backward()
    assert all((gradient == 0).all() for gradient in gradients(model).values())


@everywhere
def test_balance_loss_is_added_with_its_weight(variant):
    model, batch = mini_model(variant, aux_loss_alpha=0.5), training_batch()
    with torch.no_grad():
        plain = model(**batch).loss
        balanced = model(**batch, output_router_logits=True)
    torch.testing.assert_close(balanced.loss, plain + 0.5 * balanced.aux_loss)
    scoring = model.config.language_config.scoring_func
    mask, shape = batch["attention_mask"].bool(), batch["input_ids"].shape
    assert len(balanced.router_logits) == 2
    losses = []
    for layer, logits in zip(
        model.model.language_model.layers[1:], balanced.router_logits, strict=True
    ):
        gate = layer.mlp.gate
        scores = logits.sigmoid() if scoring == "sigmoid" else logits.softmax(-1)
        if gate.e_score_correction_bias is not None:
            scores = scores + gate.e_score_correction_bias
        chosen = scores.topk(2).indices.view(*shape, 2)
        losses.append(plain_sequence_balance_loss(logits.view(*shape, -1), chosen, mask, scoring))
    torch.testing.assert_close(balanced.aux_loss, torch.stack(losses).mean())


def test_balance_may_be_over_the_whole_batch():
    batch = training_batch()
    settings = {"output_router_logits": True}
    outputs = mini_model("small", seq_aux=False)(**batch, **settings)
    by_sequence = mini_model("small")(**batch, **settings)
    assert outputs.aux_loss < by_sequence.aux_loss
    assert torch.equal(outputs.expert_load, by_sequence.expert_load)
    logits = [part.view(1, -1, 6) for part in outputs.router_logits]
    mask = batch["attention_mask"].view(1, -1)
    losses = [plain_sequence_balance_loss(x, x.topk(2).indices, mask) for x in logits]
    torch.testing.assert_close(outputs.aux_loss, torch.stack(losses).mean())


def test_the_configuration_can_switch_the_balance_loss_on():
    model = mini_model("small", output_router_logits=True)
    assert model(**training_batch()).aux_loss is not None


def test_balance_loss_counts_once_under_accumulation():
    """Two parts of a batch, each divided by the items of both, add up to the weight of one."""
    model, batch = mini_model("small", aux_loss_alpha=0.5), training_batch()
    items = supervised_positions(batch["labels"]).sum()
    with torch.no_grad():
        part = {"output_router_logits": True, "num_items_in_batch": 2 * items}
        half, plain = model(**batch, **part), model(**batch, num_items_in_batch=2 * items)
    torch.testing.assert_close(half.loss - plain.loss, 0.5 * 0.5 * half.aux_loss)


@everywhere
def test_expert_load_counts_each_real_token_top_k_times(variant):
    batch = training_batch()
    load = mini_model(variant)(**batch, output_router_logits=True).expert_load
    assert load.shape == (2, 6)
    assert load.sum(dim=1).tolist() == [2 * batch["attention_mask"].sum()] * 2


def test_correction_biases_move_against_the_load():
    model, batch = mini_model("base").train(), training_batch()
    gates = [layer.mlp.gate for layer in model.model.language_model.layers[1:]]
    before = [gate.e_score_correction_bias.clone() for gate in gates]
    load = model(**batch, output_router_logits=True).expert_load
    model.correct_router_biases(load, step=0.01)
    for gate, old, counts in zip(gates, before, load, strict=True):
        moved = gate.e_score_correction_bias - old
        torch.testing.assert_close(moved, 0.01 * torch.sign(counts.mean() - counts))
        assert not gate.e_score_correction_bias.requires_grad


def test_correction_evens_out_the_load():
    model, batch = mini_model("base").train(), training_batch()
    spread = []
    for _ in range(60):
        load = model(**batch, output_router_logits=True).expert_load
        spread.append((load.max(dim=1).values / load.mean(dim=1)).mean().item())
        model.correct_router_biases(load, step=0.02)
    assert spread[-1] < spread[0] - 0.3


def checkpoint_activations(model):
    """By whichever of its two names the installed transformers has."""
    getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()


@everywhere
def test_checkpointed_gradients_are_the_same(variant):
    results = []
    for checkpointed in (False, True):
        model = mini_model(variant).train()
        if checkpointed:
            checkpoint_activations(model)
        outputs = model(**training_batch(), output_router_logits=True)
        outputs.loss.backward()
        results.append((outputs, gradients(model)))
    (plain, exact), (checkpointed, same) = results
    torch.testing.assert_close(checkpointed.loss, plain.loss)
    torch.testing.assert_close(checkpointed.aux_loss, plain.aux_loss)
    assert exact.keys() == same.keys()
    for name, gradient in exact.items():
        torch.testing.assert_close(same[name], gradient, rtol=1e-4, atol=1e-6)


@everywhere
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_documents_do_not_see_each_other(variant, attention):
    model = mini_model(variant)
    model.set_attn_implementation(attention)
    lengths = [prompt["input_ids"].shape[1] for prompt in PROMPTS]
    packed = {
        "input_ids": torch.cat([prompt["input_ids"] for prompt in PROMPTS], dim=1),
        "position_ids": torch.cat([torch.arange(length) for length in lengths])[None],
        "pixel_values": PROMPTS[0]["pixel_values"],
        "images_spatial_crop": PROMPTS[0]["images_spatial_crop"],
    }
    with torch.no_grad():
        together = model(**packed, use_cache=False).logits.split(lengths, dim=1)
        for logits, prompt in zip(together, PROMPTS, strict=True):
            close(logits, model(**prompt).logits, 1e-5)


def test_training_keeps_no_cache():
    model = mini_model("base").train()
    assert model(**training_batch()).past_key_values is None
    assert model.eval()(**training_batch()).past_key_values is not None
