"""Counts from a configuration, against the paper and against models on the meta device."""

import json

import pytest
import torch

from vl2.model.configuration import config_from_dict
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.model.released import released_config
from vl2.model.sizes import model_sizes

VARIANTS = ("tiny", "small", "base")


def count_on_meta(config):
    with torch.device("meta"):
        model = DeepseekVLV2ForCausalLM(config)
    return sum(p.numel() for p in model.parameters()) + sum(
        b.numel() for name, b in model.named_buffers() if name.endswith("e_score_correction_bias")
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_counts_equal_the_model_on_the_meta_device(name):
    config = released_config(name)
    assert model_sizes(config).total == count_on_meta(config)


@pytest.mark.parametrize("name", VARIANTS)
def test_counts_equal_the_golden_checkpoints(name, golden):
    """Tiny models of the same architectures, whose weights lie on disk."""
    safetensors = pytest.importorskip("safetensors")
    folder = golden / "checkpoints" / name
    config = config_from_dict(json.loads((folder / "config.json").read_text()))
    with safetensors.safe_open(folder / "model.safetensors", "np") as file:
        stored = 0
        for key in file.keys():  # noqa: SIM118 - not a mapping
            size = 1
            for length in file.get_slice(key).get_shape():
                size *= length
            stored += size
    assert model_sizes(config).total == stored


@pytest.mark.parametrize(
    ("name", "total", "language", "digit"),
    [("tiny", 3.37, 0.57, 0.01), ("small", 16.1, 2.4, 0.1), ("base", 27.5, 4.1, 0.1)],
)
def test_the_numbers_of_the_paper(name, total, language, digit):
    """README and table 1 of the paper, which cuts the activated ones off after two figures."""
    sizes = model_sizes(released_config(name))
    assert float(f"{sizes.total / 1e9:.3g}") == total
    assert language <= sizes.active_language / 1e9 < language + digit


def test_the_latent_cache_is_what_the_paper_says():
    """512 + 64 numbers per layer and token, against 16 or 32 heads of 192 + 128."""
    small, base = (model_sizes(released_config(name)) for name in ("small", "base"))
    assert small.cache_values_per_token == 27 * 576
    assert small.plain_cache_values_per_token == 27 * 16 * 320
    assert base.cache_values_per_token == 30 * 576
    assert base.plain_cache_values_per_token == 30 * 32 * 320


def test_plain_attention_saves_nothing():
    tiny = model_sizes(released_config("tiny"))
    assert tiny.cache_values_per_token == tiny.plain_cache_values_per_token == 12 * 10 * 256


def test_experts_at_rest_cost_memory_but_no_compute():
    config = released_config("tiny")
    before = model_sizes(config)
    config.language_config.n_routed_experts = 128
    after = model_sizes(config)
    experts = {p.name: p for p in after.parts}["routed experts"]
    assert after.total - before.total == 11 * 64 * (3 * 1280 * 896 + 1280)
    # Only the router, which looks at every expert, gets dearer.
    assert after.flops_per_token - before.flops_per_token == 2 * 11 * 64 * 1280
    assert after.dense_flops_per_token > before.dense_flops_per_token
    assert experts.active == 11 * 6 * 3 * 1280 * 896


def test_compute_of_a_tile_follows_the_counted_layers():
    """Two operations per weight and patch, plus attention among 729 patches, plus the adaptor."""
    sizes = model_sizes(released_config("tiny"))
    weights = 27 * (4 * 1152**2 + 2 * 1152 * 4304) + 3 * 14**2 * 1152
    attention = 27 * 2 * 729**2 * 1152
    adaptor = 196 * (4608 * 1280 + 1280 * 1280)
    assert sizes.flops_per_tile == 2 * (729 * weights + attention + adaptor)


def test_a_model_without_experts(golden):
    values = json.loads((golden / "checkpoints" / "tiny" / "config.json").read_text())
    for key in ("n_routed_experts", "n_shared_experts", "num_experts_per_tok"):
        values["language_config"][key] = None
    sizes = model_sizes(config_from_dict(values))
    assert (sizes.attention, sizes.experts) == ("multi-head", "none")
    assert sizes.dense_flops_per_token == sizes.flops_per_token
