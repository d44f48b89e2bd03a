"""Packed documents: what each gives alone, loss, balance and gradients included."""

import pytest
import torch
from model_inputs import IMAGE, PAD, mini_model, mini_prompt

from vl2.model.loss import document_places, document_positions, router_balance

GRIDS = ([(1, 2)], [], [(1, 1), (2, 1)])
PROMPTS = [mini_prompt(grids, words=9 + 3 * i, seed=i) for i, grids in enumerate(GRIDS)]


def labels_of(prompt):
    labels = prompt["input_ids"].clone()
    labels[labels == IMAGE] = -100
    labels[:, :-6] = -100
    return labels


def packed(prompts, padding):
    """Two rows: all but the last document in the first, the last one in the second."""
    rows = [prompts[:-1], prompts[-1:]]
    length = max(sum(p["input_ids"].shape[1] for p in row) for row in rows) + padding
    ids = torch.full((2, length), PAD)
    labels, documents = torch.full((2, length), -100), torch.zeros(2, length, dtype=torch.long)
    number = 0
    for line, row in enumerate(rows):
        start = 0
        for prompt in row:
            number += 1
            end = start + prompt["input_ids"].shape[1]
            ids[line, start:end], labels[line, start:end] = (
                prompt["input_ids"][0],
                labels_of(prompt),
            )
            documents[line, start:end] = number
            start = end
    pixels = [p[name] for p in prompts for name in ("pixel_values",) if name in p]
    grids = [p["images_spatial_crop"] for p in prompts if "images_spatial_crop" in p]
    images = {"pixel_values": torch.cat(pixels), "images_spatial_crop": torch.cat(grids)}
    return {"input_ids": ids, "labels": labels, "document_ids": documents, **images}


def gradients(model):
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("variant", ["tiny", "small", "base"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_loss_balance_and_gradients_equal_those_alone(variant, attention):
    settings = {"output_router_logits": True, "num_items_in_batch": 18}
    results = []
    for together in (True, False):
        model = mini_model(variant, aux_loss_alpha=0.3).train()
        model.set_attn_implementation(attention)
        if together:
            batches = [packed(PROMPTS, padding=5)]
        else:
            batches = [{**prompt, "labels": labels_of(prompt)} for prompt in PROMPTS]
        loss, aux, load = 0.0, 0.0, 0.0
        for batch in batches:
            share = len(PROMPTS) if together else 1
            outputs = model(**batch, **settings, balance_share=share / len(PROMPTS))
            outputs.loss.backward()
            loss += outputs.loss.item()
            aux += outputs.aux_loss.item() * share / len(PROMPTS)
            load = load + outputs.expert_load
        results.append((loss, aux, load, gradients(model)))
    (loss, aux, load, exact), (alone, aux_alone, load_alone, same) = results
    assert loss == pytest.approx(alone, rel=1e-5)
    assert aux == pytest.approx(aux_alone, rel=1e-5)
    assert torch.equal(load, load_alone)
    for name, gradient in exact.items():
        torch.testing.assert_close(same[name], gradient, rtol=1e-3, atol=1e-5)


def test_neither_padding_nor_neighbours_change_a_document():
    model = mini_model("base")
    with torch.no_grad():
        plain = model(**packed(PROMPTS, padding=1), output_router_logits=True)
        batch = packed(PROMPTS, padding=9)
        batch["input_ids"][batch["document_ids"] == 0] = 7
        padded = model(**batch, output_router_logits=True)
    torch.testing.assert_close(padded.loss, plain.loss)
    torch.testing.assert_close(padded.aux_loss, plain.aux_loss)
    assert torch.equal(padded.expert_load, plain.expert_load)


def test_places_and_positions_of_documents():
    documents = torch.tensor([[1, 1, 2, 2, 2, 0], [3, 0, 0, 0, 0, 0]])
    assert document_positions(documents).tolist() == [[0, 1, 0, 1, 2, 0], [0, 0, 1, 2, 3, 4]]
    places, real = document_places(documents)
    assert places[real].tolist() == [0, 1, 2, 3, 4, 6]
    assert real.sum(dim=1).tolist() == [2, 3, 1]


def test_a_batch_of_padding_has_a_balance_of_nothing():
    language = mini_model("small").config.language_config
    logits, indices = torch.randn(4, 6), torch.zeros(4, 2, dtype=torch.long)
    empty = torch.zeros(1, 4, dtype=torch.long)
    loss, load = router_balance((logits,), (indices,), None, (1, 4), language, empty)
    assert loss == 0
    assert load.sum() == 0


def test_a_packed_row_makes_no_cache():
    assert mini_model("base")(**packed(PROMPTS, padding=0)).past_key_values is None
