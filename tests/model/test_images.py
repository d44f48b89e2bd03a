import pytest
import torch
from model_inputs import IMAGE, close, mini_config, mini_model, mini_prompt

from vl2.errors import InputError
from vl2.model import DeepseekVLV2VisionModel
from vl2.model.images import encode_tiles


def test_the_vision_tower_is_usable_alone():
    config = mini_config("tiny").vision_config
    tower = DeepseekVLV2VisionModel(config)
    features = tower(torch.randn(3, 3, 20, 20))
    assert features.shape == (3, 25, 16)
    features.sum().backward()
    assert tower.pos_embed.grad.abs().sum() > 0


@pytest.mark.parametrize("shape", [(3, 20, 20), (1, 3, 24, 24), (1, 1, 20, 20)])
def test_tiles_of_another_shape_are_refused(shape):
    tower = DeepseekVLV2VisionModel(mini_config("tiny").vision_config)
    with pytest.raises(InputError, match=r"must have the shape \[tiles, 3, 20, 20\]"):
        tower(torch.zeros(shape))


def test_many_tiles_go_in_portions_with_the_same_result(monkeypatch):
    model = mini_model("tiny").model
    tiles, sizes = torch.randn(37, 3, 20, 20), []
    forward = model.vision_tower.forward
    monkeypatch.setattr(model.vision_tower, "forward", lambda x: sizes.append(len(x)) or forward(x))
    with torch.no_grad():
        portions = encode_tiles(model.vision_tower, model.projector, tiles)
    assert sizes == [16, 16, 5]
    whole = encode_tiles(model.vision_tower, model.projector, tiles)
    assert sizes[3:] == [37]
    close(portions, whole.detach(), 1e-5)


@pytest.mark.parametrize(("side", "at_once"), [(384, 2), (20, 16), (2000, 1)])
def test_wide_tiles_go_a_few_at_a_time_on_the_cpu(side, at_once):
    seen = []
    tiles = torch.zeros(1, 3, side, side).expand(5 + at_once, 3, side, side)
    with torch.no_grad():
        encode_tiles(lambda x: seen.append(len(x)) or x[:, 0, 0], lambda x: x, tiles)
    assert max(seen) == at_once
    assert sum(seen) == len(tiles)


def test_features_come_per_image():
    prompt = mini_prompt([(1, 1), (2, 1), (1, 2)])
    given = {name: prompt[name] for name in ("pixel_values", "images_spatial_crop")}
    outputs = mini_model("tiny").model.get_image_features(**given)
    assert [tuple(rows.shape) for rows in outputs.pooler_output] == [(25, 32), (34, 32), (37, 32)]
    assert outputs.last_hidden_state.shape == (8, 9, 32)


def test_features_may_be_handed_in():
    model, prompt = mini_model("small"), mini_prompt([(1, 2)])
    with torch.no_grad():
        expected = model(**prompt).logits
        features = model.model.get_image_features(
            prompt["pixel_values"], prompt["images_spatial_crop"]
        )
        given = model(input_ids=prompt["input_ids"], mm_encoder_outputs={"image": features}).logits
    assert torch.equal(given, expected)


@pytest.mark.parametrize("change", [-1, 1])
def test_image_tokens_and_rows_must_agree(change):
    prompt = mini_prompt([(1, 1)])
    ids = prompt["input_ids"]
    ids = ids[:, [0, *range(2, ids.shape[1])]] if change < 0 else torch.cat((ids, ids[:, 1:2]), 1)
    with pytest.raises(InputError, match=f"has {25 + change} <image> tokens, but .* 25 rows"):
        mini_model("tiny")(**{**prompt, "input_ids": ids})


def test_grids_and_tiles_must_agree():
    prompt = mini_prompt([(1, 2)])
    prompt["pixel_values"] = prompt["pixel_values"][:-1]
    with pytest.raises(
        InputError, match=r"\[\(1, 2\)\] asks for 3 tiles, but pixel_values holds 2"
    ):
        mini_model("tiny")(**prompt)


def test_pixels_need_grids():
    prompt = mini_prompt([(1, 1)])
    del prompt["images_spatial_crop"]
    with pytest.raises(InputError, match="pixel_values needs images_spatial_crop"):
        mini_model("tiny")(**prompt)


def test_image_tokens_need_images():
    prompt = mini_prompt([(1, 1)])
    with pytest.raises(InputError, match="has 25 <image> tokens, but no images"):
        mini_model("tiny")(input_ids=prompt["input_ids"])


def test_ids_and_embeddings_exclude_each_other():
    model, prompt = mini_model("tiny"), mini_prompt([])
    embeddings = model.get_input_embeddings()(prompt["input_ids"])
    with pytest.raises(InputError, match="either input_ids or inputs_embeds"):
        model(**prompt, inputs_embeds=embeddings)
    with pytest.raises(InputError, match="either input_ids or inputs_embeds"):
        model()
    close(model(inputs_embeds=embeddings).logits, model(**prompt).logits.detach(), 1e-6)


def test_images_need_ids():
    model, prompt = mini_model("tiny"), mini_prompt([(1, 1)])
    embeddings = model.get_input_embeddings()(prompt.pop("input_ids"))
    with pytest.raises(InputError, match="Images need input_ids"):
        model(**prompt, inputs_embeds=embeddings)


def test_no_tiles_at_all_is_a_text_prompt():
    model, prompt = mini_model("tiny"), mini_prompt([])
    empty = {
        "pixel_values": torch.zeros(0, 3, 20, 20),
        "images_spatial_crop": torch.zeros(0, 2, dtype=torch.long),
    }
    assert torch.equal(model(**prompt, **empty).logits, model(**prompt).logits)
    assert IMAGE not in prompt["input_ids"]
