"""Every way of generating gives what one whole forward pass gives."""

import pytest
import torch
from model_inputs import EOS, IMAGE, PAD, VOCABULARY, close, left_padded, mini_model, mini_prompt
from transformers import DynamicCache

from vl2.errors import InputError
from vl2.model.cache import LatentLayer

VARIANTS = ("tiny", "small", "base")
everywhere = pytest.mark.parametrize("variant", VARIANTS)
PROMPTS = [
    mini_prompt([(1, 2)], words=9, seed=1),
    mini_prompt([], words=4, seed=2),
    mini_prompt([(1, 1), (2, 1)], words=3, seed=3),
]


def step_by_step(model, prompt, count):
    """The next tokens by a whole forward pass for each, without any cache."""
    ids = prompt["input_ids"]
    for _ in range(count):
        with torch.no_grad():
            logits = model(**{**prompt, "input_ids": ids}, use_cache=False).logits[:, -1]
        logits[:, IMAGE] = -torch.inf
        ids = torch.cat((ids, logits.argmax(-1, keepdim=True)), dim=1)
    return ids[:, prompt["input_ids"].shape[1] :]


def generated(model, prompt, count=8, **kwargs):
    settings = {"do_sample": False, "eos_token_id": None, "pad_token_id": PAD, **kwargs}
    ids = model.generate(**prompt, max_new_tokens=count, **settings)
    return ids[:, prompt["input_ids"].shape[1] :]


@everywhere
@pytest.mark.parametrize("prompt", PROMPTS, ids=["picture", "text", "two_pictures"])
def test_cached_equals_whole(variant, prompt):
    model = mini_model(variant)
    assert torch.equal(generated(model, prompt), step_by_step(model, prompt, 8))


@everywhere
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_cached_logits_equal_those_of_the_whole(variant, attention):
    model = mini_model(variant)
    model.set_attn_implementation(attention)
    prompt = mini_prompt([(1, 1)], words=12)
    ids = prompt.pop("input_ids")
    with torch.no_grad():
        whole = model(input_ids=ids, **prompt, use_cache=False).logits
        out = model(input_ids=ids[:, :-9], **prompt)
        parts = [out.logits]
        for chunk in ids[:, -9:].split([1, 3, 1, 4], dim=1):
            out = model(input_ids=chunk, past_key_values=out.past_key_values)
            parts.append(out.logits)
    close(torch.cat(parts, dim=1), whole, 1e-5)


@everywhere
def test_batch_equals_alone(variant):
    model = mini_model(variant)
    alone = [generated(model, prompt)[0] for prompt in PROMPTS]
    together = generated(model, left_padded(PROMPTS))
    assert torch.equal(together, torch.stack(alone))


@everywhere
def test_logits_of_a_padded_batch_equal_those_alone(variant):
    """Padded on the left or on the right, without position ids."""
    model = mini_model(variant)
    batch = left_padded(PROMPTS)
    lengths = [prompt["input_ids"].shape[1] for prompt in PROMPTS]
    width = max(lengths)
    right = {
        **batch,
        **{
            name: torch.stack([batch[name][row].roll(length) for row, length in enumerate(lengths)])
            for name in ("input_ids", "attention_mask")
        },
    }
    assert right["attention_mask"][1, 0] == 1
    with torch.no_grad():
        left_logits, right_logits = model(**batch).logits, model(**right).logits
        for row, (prompt, length) in enumerate(zip(PROMPTS, lengths, strict=True)):
            alone = model(**prompt).logits[0]
            close(left_logits[row, width - length :], alone, 1e-5)
            close(right_logits[row, :length], alone, 1e-5)


@everywhere
@pytest.mark.parametrize("size", [1, 7, 16, 50])
def test_chunked_prefill_equals_whole(variant, size):
    model, batch = mini_model(variant), left_padded(PROMPTS)
    assert torch.equal(generated(model, batch, prefill_chunk_size=size), generated(model, batch))


@everywhere
def test_static_cache_equals_growing(variant):
    model, batch = mini_model(variant), left_padded(PROMPTS)
    static = generated(model, batch, cache_implementation="static", disable_compile=True)
    assert torch.equal(static, generated(model, batch))


@everywhere
def test_beams_with_latents_equal_beams_without_cache(variant):
    model, batch = mini_model(variant), left_padded(PROMPTS[:2])
    beams = {"num_beams": 3, "num_return_sequences": 2}
    cached = generated(model, batch, **beams)
    assert cached.shape[0] == 4
    assert torch.equal(cached, generated(model, batch, use_cache=False, **beams))


def test_generation_holds_latents():
    model = mini_model("base")
    out = model.generate(**PROMPTS[0], max_new_tokens=2, return_dict_in_generate=True)
    assert all(isinstance(layer, LatentLayer) for layer in out.past_key_values.layers)
    width = sum(part.shape[-1] for part in (out.past_key_values.layers[0].keys,))
    assert width == model.config.language_config.kv_lora_rank


def test_a_cache_of_plain_layers_works_too():
    model, prompt = mini_model("base"), PROMPTS[0]
    cache = DynamicCache(config=model.config.language_config)
    cache.layers[0].lazy_initialization(torch.zeros(1), torch.zeros(1))
    assert torch.equal(generated(model, prompt, past_key_values=cache), generated(model, prompt))
    assert not isinstance(cache.layers[0], LatentLayer)


@everywhere
def test_the_image_token_is_never_sampled(variant):
    model = mini_model(variant)
    # A head that wants nothing else.
    model.lm_head.weight.data[IMAGE] = model.lm_head.weight.data.abs().amax() * 50
    favourite = model(**PROMPTS[1]).logits[0, -1].abs().argmax()
    assert favourite == IMAGE
    for settings in ({}, {"do_sample": True}, {"num_beams": 2}, {"suppress_tokens": [7]}):
        assert IMAGE not in generated(model, PROMPTS[1], **settings)


def test_images_are_encoded_once(monkeypatch):
    model, calls = mini_model("small"), []
    tower = model.model.vision_tower
    forward = tower.forward
    monkeypatch.setattr(tower, "forward", lambda x, **kw: calls.append(len(x)) or forward(x, **kw))
    generated(model, PROMPTS[2], num_beams=2, num_return_sequences=2, prefill_chunk_size=9)
    assert calls == [5]


def test_generation_ends_at_the_end_of_sequence():
    model = mini_model("tiny")
    model.lm_head.weight.data[EOS] = 0
    assert model.generation_config.eos_token_id == EOS
    banned = [token for token in range(VOCABULARY) if token != EOS]
    out = model.generate(**PROMPTS[0], max_new_tokens=5, suppress_tokens=banned)
    assert out[0, PROMPTS[0]["input_ids"].shape[1] :].tolist() == [EOS]


def test_the_same_seed_gives_the_same_answer():
    model, answers = mini_model("base"), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        answers.append(generated(model, PROMPTS[0], count=20, do_sample=True).tolist())
    assert answers[0] == answers[1] != answers[2]


def test_prompt_lookup_may_propose_image_tokens():
    model, prompt = mini_model("small"), PROMPTS[0]
    looked_up = generated(model, prompt, prompt_lookup_num_tokens=3)
    assert torch.equal(looked_up, generated(model, prompt))


def test_decoding_is_absorbed_and_prefill_expanded(monkeypatch):
    model, expanded = mini_model("base"), []
    for layer in model.model.language_model.layers:
        expand = layer.self_attn.expand_kv
        monkeypatch.setattr(
            layer.self_attn,
            "expand_kv",
            lambda c, k, expand=expand: expanded.append(c.shape[2]) or expand(c, k),
        )
    prompt = PROMPTS[0]
    generated(model, prompt, count=5)
    assert expanded == [prompt["input_ids"].shape[1]] * 3


@everywhere
def test_a_conversation_goes_on_from_its_cache(variant):
    """A second picture in a later turn, given alone or with all that was said before."""
    model, first, second = mini_model(variant), PROMPTS[0], mini_prompt([(1, 1)], words=5, seed=9)
    whole = {
        "input_ids": torch.cat((first["input_ids"], second["input_ids"]), dim=1),
        **{
            name: torch.cat((first[name], second[name]))
            for name in ("pixel_values", "images_spatial_crop")
        },
    }
    expected = generated(model, whole)
    for ids in (whole["input_ids"], second["input_ids"]):
        cache = DynamicCache(config=model.config.language_config)
        with torch.no_grad():
            model(**first, past_key_values=cache)
        later = {
            **second,
            "input_ids": ids,
            "attention_mask": torch.ones_like(whole["input_ids"]),
            "past_key_values": cache,
        }
        assert torch.equal(generated(model, later), expected)


@everywhere
def test_features_may_be_handed_to_generation(variant):
    model, prompt = mini_model(variant), PROMPTS[2]
    with torch.no_grad():
        features = model.model.get_image_features(
            prompt["pixel_values"], prompt["images_spatial_crop"]
        )
    given = {"input_ids": prompt["input_ids"], "mm_encoder_outputs": {"image": features}}
    assert torch.equal(generated(model, given), generated(model, prompt))


@everywhere
def test_a_prompt_may_be_embeddings(variant):
    model = mini_model(variant)
    prompt = mini_prompt([], words=5, seed=2)
    embeddings = model.get_input_embeddings()(prompt["input_ids"])
    settings = {"do_sample": False, "eos_token_id": None, "pad_token_id": PAD}
    answer = model.generate(inputs_embeds=embeddings, max_new_tokens=4, **settings)
    assert torch.equal(answer, generated(model, prompt, 4))


def test_generation_refuses_images_that_do_not_fit():
    prompt = dict(PROMPTS[0])
    prompt["input_ids"] = prompt["input_ids"][:, 2:]
    with pytest.raises(InputError, match="has 36 <image> tokens, but its images make 37 rows"):
        generated(mini_model("tiny"), prompt)
    with pytest.raises(InputError, match="no images came with it"):
        generated(mini_model("tiny"), {"input_ids": prompt["input_ids"]})
    model, embeddings = mini_model("tiny"), torch.zeros(1, 3, 8)
    without_ids = {key: prompt[key] for key in ("pixel_values", "images_spatial_crop")}
    with pytest.raises(InputError, match="Images need input_ids"):
        model.generate(inputs_embeds=embeddings, **without_ids)
