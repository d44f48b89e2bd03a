"""Official checkpoints load as they are, and what is saved is what was loaded."""

import json
import shutil

import pytest
import torch
from golden import VARIANTS, checkpoint
from model_inputs import mini_model, mini_prompt
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
)

from vl2.model import DeepseekVLV2Config, DeepseekVLV2ForCausalLM, DeepseekVLV2Model
from vl2.model.conversion import official_shapes
from vl2.model.loading import load_model

everywhere = pytest.mark.parametrize("variant", VARIANTS)


def stored(folder):
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            tensors |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    return tensors


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert tensor.dtype == right[name].dtype, name
        assert torch.equal(tensor, right[name]), name


@everywhere
def test_load_save_load_is_the_identity(variant, tmp_path):
    load_model(checkpoint(variant)).save_pretrained(tmp_path)
    assert_same(stored(tmp_path), stored(checkpoint(variant)))
    again = load_model(tmp_path)
    assert_same(again.state_dict(), load_model(checkpoint(variant)).state_dict())


@everywhere
def test_shards_hold_the_same(variant, tmp_path):
    load_model(checkpoint(variant)).save_pretrained(tmp_path, max_shard_size="300KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    assert_same(stored(tmp_path), stored(checkpoint(variant)))
    load_model(tmp_path)


@everywhere
def test_saved_config_is_read_back_the_same(variant, tmp_path):
    config = AutoConfig.from_pretrained(checkpoint(variant))
    config.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert {**again.to_dict(), "_name_or_path": ""} == {**config.to_dict(), "_name_or_path": ""}
    official = json.loads((checkpoint(variant) / "config.json").read_text())
    saved = json.loads((tmp_path / "config.json").read_text())
    for part in ("vision_config", "projector_config", "language_config"):
        unused = {"architectures", "torch_dtype", "rm_head"}
        kept = {key: value for key, value in official[part].items() if key not in unused}
        assert kept.items() <= saved[part].items()
    assert saved["language_config"]["rope_theta"] == 10000.0
    assert saved["candidate_resolutions"] == official["candidate_resolutions"]


def test_saving_writes_the_architecture(tmp_path):
    mini_model("tiny").save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["architectures"] == ["DeepseekVLV2ForCausalLM"]
    assert saved["model_type"] == "deepseek_vl_v2"


@everywhere
def test_auto_classes_load_the_official_folder(variant):
    folder = checkpoint(variant)
    assert type(AutoConfig.from_pretrained(folder)) is DeepseekVLV2Config
    for auto, model_class in (
        (AutoModelForImageTextToText, DeepseekVLV2ForCausalLM),
        (AutoModelForCausalLM, DeepseekVLV2ForCausalLM),
        (AutoModel, DeepseekVLV2Model),
    ):
        model, report = auto.from_pretrained(folder, output_loading_info=True)
        assert type(model) is model_class
        assert not report["missing_keys"]
        assert not report["mismatched_keys"]
        if model_class is DeepseekVLV2ForCausalLM:
            assert not report["unexpected_keys"]


@everywhere
def test_the_tokenizer_supplies_the_image_token(variant):
    model = AutoModelForCausalLM.from_pretrained(checkpoint(variant))
    assert model.config.image_token_id == {"tiny": 426, "small": 425, "base": 425}[variant]
    assert model.generation_config.eos_token_id == 423


def test_without_a_tokenizer_the_image_token_is_asked_for(tmp_path):
    model = mini_model("tiny")
    model.config.image_token_id = None
    model.save_pretrained(tmp_path)
    assert load_model(tmp_path).config.image_token_id is None
    prompt = mini_prompt([(1, 1)])
    again = load_model(tmp_path)
    with pytest.raises(ValueError, match="image_token_id is not set"):
        again(**prompt)
    assert again(**mini_prompt([])).logits.isfinite().all()


@everywhere
def test_official_names_are_known_without_weights(variant):
    wanted = official_shapes(load_model(checkpoint(variant)))
    assert wanted == {
        name: tuple(tensor.shape) for name, tensor in stored(checkpoint(variant)).items()
    }


def test_tied_embeddings_are_stored_once(tmp_path):
    model = mini_model("base", tie_word_embeddings=True)
    model.tie_weights()
    assert model.lm_head.weight is model.get_input_embeddings().weight
    model.save_pretrained(tmp_path)
    assert "language.lm_head.weight" not in stored(tmp_path)
    again = load_model(tmp_path)
    assert again.lm_head.weight is again.get_input_embeddings().weight
    assert_same(again.state_dict(), model.state_dict())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_another_type_changes_all_but_the_correction_bias(dtype, tmp_path):
    folder = shutil.copytree(checkpoint("base"), tmp_path / "base")
    model = load_model(folder, dtype=dtype)
    types = {name: tensor.dtype for name, tensor in model.state_dict().items()}
    bias = {name for name in types if name.endswith("e_score_correction_bias")}
    assert len(bias) == 3
    assert all(types[name] == (torch.float32 if name in bias else dtype) for name in types)
