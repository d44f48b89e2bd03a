import math

import pytest
import torch
from golden import VARIANTS, checkpoint
from model_inputs import mini_config
from transformers import AutoConfig, configuration_utils

from vl2.errors import CheckpointError, InputError
from vl2.model import (
    DeepseekVLV2Config,
    DeepseekVLV2ForCausalLM,
    DeepseekVLV2LanguageConfig,
)
from vl2.model.configuration import config_from_dict
from vl2.model.released import released_config

OFFICIAL_SMALL = {
    "model_type": "deepseek_vl_v2",
    "torch_dtype": "bfloat16",
    "transformers_version": "4.38.2",
    "tile_tag": "2D",
    "global_view_pos": "head",
    "candidate_resolutions": [[384, 384], [384, 768]],
    "vision_config": {
        "layers": 27,
        "mlp_ratio": 3.7362,
        "model_name": "siglip_so400m_patch14_384",
        "model_type": "vision",
        "patch_size": 14,
        "width": 1152,
    },
    "projector_config": {"model_type": "mlp_projector", "n_embed": 2048},
    "language_config": {
        "architectures": ["DeepseekV2ForCausalLM"],
        "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV2Config"},
        "bos_token_id": 100000,
        "eos_token_id": 100001,
        "first_k_dense_replace": 1,
        "hidden_size": 2048,
        "intermediate_size": 10944,
        "lm_head": True,
        "max_position_embeddings": 4096,
        "model_type": "deepseek_v2",
        "moe_intermediate_size": 1408,
        "n_group": 1,
        "n_routed_experts": 64,
        "n_shared_experts": 2,
        "num_attention_heads": 16,
        "num_experts_per_tok": 6,
        "num_hidden_layers": 27,
        "num_key_value_heads": 16,
        "q_lora_rank": None,
        "rm_head": False,
        "topk_group": 1,
        "topk_method": "greedy",
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": 102400,
    },
}


def changed(part, **values):
    config = (
        {**OFFICIAL_SMALL, part: {**OFFICIAL_SMALL[part], **values}}
        if part
        else {
            **OFFICIAL_SMALL,
            **values,
        }
    )
    return config


def test_what_an_official_file_leaves_out_comes_from_the_original_defaults():
    config = config_from_dict(OFFICIAL_SMALL)
    language, vision, projector = (
        config.language_config,
        config.vision_config,
        config.projector_config,
    )
    assert (language.kv_lora_rank, language.qk_nope_head_dim, language.qk_rope_head_dim) == (
        512,
        128,
        64,
    )
    assert (language.v_head_dim, language.use_mla, language.scoring_func) == (128, True, "softmax")
    assert (language.rope_theta, language.rms_norm_eps, language.aux_loss_alpha) == (
        1e4,
        1e-6,
        1e-3,
    )
    assert (vision.heads, vision.image_size, vision.intermediate_size) == (16, 384, 4304)
    assert (projector.input_dim, projector.depth, projector.downsample_ratio) == (1152, 2, 2)


def test_defaults_of_the_original_language_class():
    config = DeepseekVLV2LanguageConfig()
    assert (config.num_hidden_layers, config.num_attention_heads) == (30, 32)
    assert (config.num_key_value_heads, config.q_lora_rank) == (32, 1536)


@pytest.mark.parametrize("variant", VARIANTS)
def test_golden_configs_load(variant):
    config = AutoConfig.from_pretrained(checkpoint(variant))
    assert config.get_text_config() is config.language_config
    assert config.text_config is config.language_config


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("language_config", {"first_k_dense_replac": 1}, "Did you mean 'first_k_dense_replace'"),
        ("vision_config", {"widht": 1152}, "'widht' in vision_config. Did you mean 'width'"),
        ("projector_config", {"n_embedding": 8}, "Did you mean 'n_embed'"),
        ("", {"tile_tga": "2D"}, "'tile_tga' in the configuration. Did you mean 'tile_tag'"),
        ("language_config", {"partial_rotary_factor": 0.5}, "'partial_rotary_factor'"),
        ("language_config", {"qqq": 1}, "Unknown key 'qqq' in language_config. Remove it."),
        ("language_config", {"hidden_size": "2048"}, "expected int, got str"),
        ("language_config", {"hidden_size": 1024}, "n_embed 2048 differs from language"),
        ("vision_config", {"width": 1024}, "input_dim 1152 differs from vision_config.width 1024"),
        ("vision_config", {"heads": 7}, "width 1152 is not a multiple of heads 7"),
        ("language_config", {"topk_method": "gready"}, "'topk_method'"),
        ("language_config", {"scoring_func": "relu"}, "'scoring_func'"),
        ("language_config", {"num_experts_per_tok": 65}, "65 does not fit n_routed_experts 64"),
        ("language_config", {"n_group": 7}, "64 is not a multiple of n_group 7"),
        ("language_config", {"kv_lora_rank": None}, "use_mla needs kv_lora_rank"),
        (
            "language_config",
            {"rope_theta": math.nan},
            "rope_theta must be a number from 1 to 1e+30",
        ),
        ("language_config", {"rope_theta": math.inf}, "rope_theta must be a number from 1"),
        ("language_config", {"rope_theta": -1e4}, "to 1e+30: -10000.0"),
        ("language_config", {"rope_theta": 0}, "to 1e+30: 0"),
        ("language_config", {"rope_theta": 10**400}, "to 1e+30: 1000"),
        ("language_config", {"rope_theta": "1e4"}, "to 1e+30: '1e4'"),
        ("language_config", {"rope_theta": True}, "to 1e+30: True"),
        ("language_config", {"rope_parameters": {"rope_theta": math.nan}}, "to 1e+30: nan"),
        ("language_config", {"rope_scaling": {"rope_theta": -1.0}}, "to 1e+30: -1.0"),
        (
            "language_config",
            {"rope_theta": 5e5, "rope_parameters": {"rope_theta": 1e4}},
            "rope_theta 500000.0 differs from 10000.0 in the table of rotary parameters",
        ),
        ("language_config", {"rms_norm_eps": math.nan}, "rms_norm_eps must be a finite number"),
        ("language_config", {"rms_norm_eps": -1e-6}, "rms_norm_eps must be from 0 to 1: -1e-06"),
        ("language_config", {"routed_scaling_factor": math.inf}, "must be a finite number: inf"),
        ("vision_config", {"mlp_ratio": math.inf}, "mlp_ratio must be a finite number: inf"),
        ("language_config", {"rope_scaling": {"type": "yarn", "factor": 4.0}}, "rope_scaling"),
        ("projector_config", {"projector_type": "linear"}, "projector_type 'linear' is not"),
        ("projector_config", {"depth": 1}, "depth must be at least 2, not 1"),
        ("projector_config", {"depth": 10**9}, "depth must be at most 1000"),
        ("projector_config", {"downsample_ratio": 0}, "downsample_ratio must be at least 1: 0"),
        ("vision_config", {"heads": 0}, "vision_config: heads must be at least 1: 0"),
        ("vision_config", {"patch_size": 0}, "patch_size must be at least 1: 0"),
        ("vision_config", {"patch_size": 385}, "patch_size 385 is more than image_size 384"),
        ("vision_config", {"mlp_ratio": -1.0}, "intermediate_size must be at least 1: -1152"),
        ("language_config", {"moe_layer_freq": 0}, "moe_layer_freq must be at least 1: 0"),
        ("language_config", {"num_attention_heads": 0}, "num_attention_heads must be at least 1"),
        ("language_config", {"use_mla": False, "num_key_value_heads": 3}, "num_key_value_heads 3"),
        ("language_config", {"hidden_act": "sparkle"}, "hidden_act 'sparkle' is unknown"),
        ("language_config", {"n_group": 4, "topk_group": 5}, "topk_group 5 does not fit n_group 4"),
        ("language_config", {"topk_method": "noaux_tc", "n_group": 64}, "two experts in each"),
        ("", {"architectures": [5], "tile_tag": "1D"}, "is not usable"),
        ("", {"torch_dtype": "float99"}, "'float99'"),
        ("", {"candidate_resolutions": [[384, "384"]]}, "[384, '384'] is not a width and a height"),
        ("", {"candidate_resolutions": [[384]]}, "[384] is not a width and a height"),
        ("", {"tile_tag": "1D"}, "tile_tag '1D'"),
        ("", {"vision_config": 3}, "vision_config must be a table of keys, not 3"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(part, values, message):
    with pytest.raises(CheckpointError) as caught:
        config_from_dict(changed(part, **values))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_is_said_about_a_sound_file(monkeypatch):
    said = []
    monkeypatch.setattr(configuration_utils.logger, "warning_once", said.append, raising=False)
    config_from_dict({**OFFICIAL_SMALL, "torch_dtype": "bfloat16"})
    released_config("tiny")
    assert said == []


def test_unknown_keys_are_refused_through_the_auto_class_too(tmp_path):
    config = mini_config("tiny")
    config.save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(file.read_text().replace('"tile_tag"', '"tile_tagg"'))
    with pytest.raises(CheckpointError, match="Did you mean 'tile_tag'"):
        AutoConfig.from_pretrained(tmp_path)


def test_deepseek_ocr_is_refused():
    with pytest.raises(CheckpointError, match="DeepseekOCRForCausalLM checkpoint"):
        DeepseekVLV2Config(architectures=["DeepseekOCRForCausalLM"])


def test_tiny_may_leave_the_latent_sizes_empty():
    values = dict.fromkeys(("kv_lora_rank", "q_lora_rank"))
    zeros = dict.fromkeys(("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"), 0)
    config = DeepseekVLV2LanguageConfig(use_mla=False, **values, **zeros)
    assert config.head_dim == config.qk_head_dim == 128


def test_names_that_other_libraries_use():
    config = mini_config("base")
    language = config.language_config
    assert language.num_experts == language.num_local_experts == 6
    language.router_aux_loss_coef = 0.5
    assert language.aux_loss_alpha == 0.5
    assert config.vision_config.hidden_size == 16
    assert DeepseekVLV2LanguageConfig(router_aux_loss_coef=0.25).aux_loss_alpha == 0.25


@pytest.mark.parametrize(("name", "billions"), [("tiny", 3.37), ("small", 16.1), ("base", 27.5)])
def test_released_models_have_the_published_sizes(name, billions):
    with torch.device("meta"):
        model = DeepseekVLV2ForCausalLM(released_config(name))
    total = sum(parameter.numel() for parameter in model.parameters()) / 1e9
    assert f"{total:.3g}" == f"{billions:.3g}"


def test_released_configs_match_a_file_with_the_official_keys():
    ours = released_config("small").to_dict()
    official = config_from_dict(OFFICIAL_SMALL).to_dict()
    for part in ("vision_config", "projector_config", "language_config"):
        for key in official[part].keys() - {"dtype", "architectures"}:
            assert ours[part][key] == official[part][key], key


def test_other_names_are_not_released():
    with pytest.raises(InputError, match=r"'large'; take one of \['tiny', 'small', 'base'\]"):
        released_config("large")
