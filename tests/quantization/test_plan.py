"""Which weights are quantised: by their names in memory and on disk."""

import pytest
import torch
from golden import VARIANTS, checkpoint
from safetensors import safe_open

from vl2.errors import InputError
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.model.released import released_config
from vl2.quantization.plan import PARTS, SCHEMES, VL2QuantizationConfig, part_of, plan_of

KEPT = (
    "embed_tokens",
    "kv_b_proj",
    "mlp.gate.",
    "norm",
    "layernorm",
    "attn_pool",
    "patch_embed",
    "image_newline",
    "view_seperator",
    "pos_embed",
)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_large_weight_on_disk_has_a_part(variant):
    with safe_open(checkpoint(variant) / "model.safetensors", framework="pt") as stored:
        names = [name for name in stored.keys() if stored.get_slice(name).get_shape()[1:]]  # noqa: SIM118
    assert names
    for name in names:
        kept = part_of(name.removesuffix(".weight")) is None
        assert kept == any(word in name for word in KEPT), name


@pytest.mark.parametrize("size", ["tiny", "small", "base"])
def test_names_in_memory_fall_into_the_same_parts(size):
    config = released_config(size)
    with torch.device("meta"):
        model = DeepseekVLV2ForCausalLM(config)
    counts = dict.fromkeys(PARTS, 0)
    for name, module in model.named_modules():
        part = part_of(name)
        if part is not None:
            counts[part] += sum(p.numel() for p in module.parameters(recurse=False) if p.ndim > 1)
    total = sum(p.numel() for p in model.parameters())
    assert all(counts.values()), counts
    # What is left is the token embedding, kv_b_proj and the unused pooling head.
    assert sum(counts.values()) > 0.94 * total
    assert counts["experts"] > 0.7 * total


def test_schemes():
    int8, int4 = (VL2QuantizationConfig.named(name) for name in ("int8", "int4"))
    assert (int8.name, int4.name) == ("int8", "int4")
    assert int8.scheme("language.model.layers.3.mlp.experts.0.up_proj").bits == 8
    assert int4.scheme("model.language_model.layers.3.mlp.experts").bits == 4
    assert int4.scheme("model.language_model.layers.3.mlp.gate") is None
    assert (int8.group_size, int4.group_size) == (64, 32)
    assert set(SCHEMES) == {"int8", "int4"}


def test_a_plan_survives_json():
    plan = VL2QuantizationConfig({"experts": 4}, group_size=32)
    assert plan.name == "mixed"
    again = VL2QuantizationConfig.from_dict(plan.to_dict())
    assert again.to_dict() == plan.to_dict()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"bits": {"expert": 4}}, "'expert'"),
        ({"bits": {"experts": 3}}, "not 3"),
        ({"bits": {"experts": 4}, "group_size": 7}, "not 7"),
        ({"bits": {"experts": 4}, "group_size": "x"}, "must be a number: 'x'"),
        ({"bits": "int4"}, "'int4'"),
        ({"bits": {}, "sparkle": 1}, "'sparkle'"),
    ],
)
def test_what_makes_no_sense_is_refused(values, said):
    with pytest.raises(InputError, match=said):
        VL2QuantizationConfig(**values)


def test_the_plan_of_a_configuration():
    config = released_config("tiny")
    assert VL2QuantizationConfig.of(config) is None
    config.quantization_config = {"quant_method": "vl2", "bits": {"experts": 4}}
    assert VL2QuantizationConfig.of(config).bits == {"experts": 4}


def test_an_unknown_scheme_is_refused():
    with pytest.raises(InputError, match=r"'int3'.*int8, int4"):
        VL2QuantizationConfig.named("int3")


def test_a_group_of_ones_own():
    plan = plan_of("int4", 64)
    assert (plan.name, plan.group_size) == ("int4", 64)
    assert plan.scheme("model.language_model.layers.3.mlp.experts").group == 64
    assert plan_of("int4").group_size == 32
    assert plan_of(None) is None
    with pytest.raises(InputError, match="--quantize int4 on the command line"):
        plan_of(None, 64)
    with pytest.raises(InputError, match="not 7"):
        plan_of("int4", 7)
