"""Equality with the original release, stage by stage, on its three variants."""

import numpy as np
import pytest
import torch
from golden import CASES, VARIANTS, facts, load_tensors
from model_inputs import close, inputs_of, model_of, training_inputs_of

from vl2.model.loss import supervised_positions

PAD = 423  # the original fills up with the end of sequence
everywhere = pytest.mark.parametrize("variant", VARIANTS)


@everywhere
def test_vision_features_and_projection(variant):
    model, stored = model_of(variant), load_tensors(variant)
    tile = inputs_of(variant, "vqa_one_image")["pixel_values"][:1]
    with torch.no_grad():
        features = model.model.vision_tower(tile)
        projected = model.model.projector(features)
    close(features[0, ::50], stored["vision.features_every_50th"])
    close(projected[0, ::20], stored["vision.projected_every_20th"])


@everywhere
@pytest.mark.parametrize("name", CASES)
def test_embeddings_logits_and_tokens(variant, name):
    model, stored = model_of(variant), load_tensors(variant)
    inputs = inputs_of(variant, name)
    with torch.no_grad():
        outputs = model(**inputs, output_hidden_states=True, logits_to_keep=4)
    close(outputs.hidden_states[0][0, ::37], stored[f"{name}.inputs_embeds_every_37th"])
    close(outputs.logits[0], stored[f"{name}.logits_last_4"])
    tokens = model.generate(**inputs, max_new_tokens=10, do_sample=False, pad_token_id=PAD)
    new = tokens[0, inputs["input_ids"].shape[1] :]
    assert new.tolist() == stored[f"{name}.greedy_tokens"].tolist()


@everywhere
def test_left_padded_batch(variant):
    """A picture with its question beside a question without: the original's batch of two."""
    model, stored = model_of(variant), load_tensors(variant)
    inputs = inputs_of(variant, "vqa_one_image")
    inputs["input_ids"] = torch.from_numpy(stored["batch.input_ids"].astype(np.int64))
    inputs["attention_mask"] = torch.from_numpy(stored["batch.attention_mask"])
    tokens = model.generate(**inputs, max_new_tokens=10, do_sample=False, pad_token_id=PAD)
    new = tokens[:, inputs["input_ids"].shape[1] :]
    assert new.tolist() == stored["batch.greedy_tokens"].tolist()


@everywhere
@pytest.mark.parametrize("masked", ["mask_true", "mask_false"])
def test_training_loss(variant, masked):
    model = model_of(variant)
    inputs = training_inputs_of(variant, masked)
    expected = facts(variant)["training"][f"train_pair.{masked}"]["loss"]
    with torch.no_grad():
        whole = model(**inputs)
        spared = model(**inputs, logits_to_keep=supervised_positions(inputs["labels"]))
    assert whole.loss.item() == pytest.approx(expected, rel=1e-5)
    assert spared.loss.item() == pytest.approx(expected, rel=1e-5)
    assert spared.logits.shape[0] == (inputs["labels"][:, 1:] != -100).sum()
