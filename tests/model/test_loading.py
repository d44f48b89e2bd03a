import json
import shutil

import pytest
import torch
from golden import checkpoint
from safetensors.torch import load_file, save_file
from transformers.utils import logging

from vl2.errors import CheckpointError
from vl2.model.loading import load_config, load_model
from vl2.model.modeling import DeepseekVLV2ForCausalLM


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(checkpoint("base"), tmp_path / "base")


def refusal(folder):
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def change_tensors(folder, change):
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


def change_config(folder, change):
    file = folder / "config.json"
    values = json.loads(file.read_text())
    change(values)
    file.write_text(json.dumps(values))


def test_loads_for_inference(folder):
    model = load_model(folder, dtype=torch.float32)
    assert not model.training
    assert model.dtype == torch.float32
    assert model.config.image_token_id == 425
    assert load_model(folder).dtype == torch.bfloat16
    assert load_model(str(folder), dtype="float16").dtype == torch.float16


def test_loading_draws_no_bars_and_leaves_them_as_they_were(folder, capsys):
    shown = logging.is_progress_bar_enabled()
    logging.enable_progress_bar()
    try:
        load_model(folder)
        assert logging.is_progress_bar_enabled()
        assert capsys.readouterr().err == ""
    finally:
        if not shown:
            logging.disable_progress_bar()


def test_a_device_that_is_too_small(folder, monkeypatch):
    def full(self, device):
        raise torch.OutOfMemoryError("tried to allocate too much")

    monkeypatch.setattr(DeepseekVLV2ForCausalLM, "to", full)
    assert "does not fit into the memory of cpu" in refusal(folder)


def test_no_folder(tmp_path):
    assert "is not a folder" in refusal(tmp_path / "absent")


def test_a_file_instead_of_a_folder(folder):
    assert "is not a folder" in refusal(folder / "config.json")


def test_no_config(folder):
    (folder / "config.json").unlink()
    assert "config.json is absent" in refusal(folder)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "[" * 100_000])
def test_config_is_not_an_object(folder, text):
    (folder / "config.json").write_text(text)
    assert "JSON" in refusal(folder)


def test_a_generation_config_that_is_no_object(folder):
    (folder / "generation_config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match=r"generation_config.json must hold a JSON object"):
        load_model(folder)


def test_another_model(folder):
    change_config(folder, lambda values: values.update(model_type="llava"))
    assert "describes a 'llava' model" in refusal(folder)


def test_a_deepseek_ocr(folder):
    change_config(folder, lambda values: values.update(architectures=["DeepseekOCRForCausalLM"]))
    assert "DeepseekOCRForCausalLM" in refusal(folder)


def test_an_unknown_key(folder):
    change_config(folder, lambda values: values.update(tile_tga="2D"))
    assert "Did you mean 'tile_tag'" in refusal(folder)


def test_no_weights(folder):
    (folder / "model.safetensors").unlink()
    assert "model.safetensors is absent" in refusal(folder)


@pytest.mark.parametrize("kept", [0, 7, 5000, 400_000])
def test_half_downloaded_weights(folder, kept):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    assert "corrupt or only half downloaded" in refusal(folder)


def test_weights_that_are_something_else(folder):
    (folder / "model.safetensors").write_bytes(b"<html>not found</html>" * 100)
    assert "corrupt or only half downloaded" in refusal(folder)


def test_a_shard_is_absent(folder):
    load_model(folder).save_pretrained(folder / "parts", max_shard_size="300KB")
    shards = sorted((folder / "parts").glob("*.safetensors"))
    shards[1].unlink()
    assert f"{shards[1].name} is absent" in refusal(folder / "parts")


@pytest.mark.parametrize(
    "index", ["{", "{}", '{"weight_map": 3}', '{"weight_map": {"a": "../model.safetensors"}}']
)
def test_a_broken_index(folder, index):
    (folder / "model.safetensors.index.json").write_text(index)
    assert "model.safetensors.index.json" in refusal(folder)


def test_a_missing_expert(folder):
    name = "language.model.layers.2.mlp.experts.3.up_proj.weight"
    change_tensors(folder, lambda tensors: tensors.pop(name))
    assert f"lacks tensor {name};" in refusal(folder)


def test_several_missing_tensors(folder):
    def drop(tensors):
        for name in [name for name in tensors if name.startswith("vision.attn_pool")]:
            del tensors[name]

    change_tensors(folder, drop)
    assert "lacks tensor vision.attn_pool.kv.bias and 12 more tensors" in refusal(folder)


def test_an_unknown_tensor(folder):
    change_tensors(folder, lambda tensors: tensors.update(surplus=torch.zeros(2)))
    assert "holds tensor surplus that the model does not have" in refusal(folder)


def test_a_tensor_of_another_shape(folder):
    change_tensors(folder, lambda tensors: tensors.update(image_newline=torch.zeros(95)))
    assert "image_newline has the shape [95], but config.json asks for [96]" in refusal(folder)


def test_config_alone(folder):
    (folder / "model.safetensors").unlink()
    assert load_config(folder).language_config.n_routed_experts == 12
