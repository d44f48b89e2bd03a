"""Seconds a tile: the vision encoder as vl2 runs it beside transformers' SigLIP in plain bfloat16.

    python benchmarks/vision.py --out benchmarks/results/vision_NAME_DATE.json

One set of random weights in the released shape (SO400M and adaptor), three ways to run it, which
take turns round by round: `SiglipVisionModel` of transformers with torch's own bfloat16 products
and fused attention; vl2 with the same weights; vl2 with these quantised to 8 bits, as both schemes
keep the encoder. What they give is compared first. Needs 4 GB of memory.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from torch import nn
from transformers import SiglipVisionConfig, SiglipVisionModel

from vl2.evals.speed.machine import measure_machine
from vl2.evals.speed.shapes import random_model
from vl2.model.configuration import DeepseekVLV2Config
from vl2.model.images import encode_tiles
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.model.released import released_config
from vl2.model.sizes import model_sizes
from vl2.model.vision import DeepseekVLV2VisionModel
from vl2.ops.kernels.library import instruction_set
from vl2.ops.tiles import fold_patches
from vl2.quantization.modules import QuantisedLinear
from vl2.quantization.packing import pack
from vl2.quantization.plan import VL2QuantizationConfig

PEER, PLAIN, QUANTISED = "transformers, bfloat16", "vl2, bfloat16", "vl2, int8"

Encoder = Callable[[torch.Tensor], torch.Tensor]

_LEAST_AGREEMENT = 0.9
"""Random weights in 27 layers: bfloat16 against itself, multiplied in another order, has 0.98."""


def main() -> int:
    """Measures, prints a table and writes a file; returns 1 if the results disagree."""
    options = _options()
    config = _config(options.layers)
    encoders = _encoders(config)
    size = config.vision_config.image_size
    generator = torch.Generator().manual_seed(0)
    tiles = torch.randn(options.tiles, 3, size, size, generator=generator).to(torch.bfloat16)
    agreement = _agreement(encoders, tiles[:1])
    seconds = _take_turns(encoders, tiles, options.rounds)
    machine = measure_machine(torch.device("cpu"))
    rows = {
        name: {
            "seconds_a_tile": statistics.median(taken),
            "fastest": min(taken),
            "share_of_peer": statistics.median(taken) / statistics.median(seconds[PEER]),
            "cosine_to_peer": agreement[name],
        }
        for name, taken in seconds.items()
    }
    for name, row in rows.items():
        sys.stdout.write(
            f"{name:24s} {row['seconds_a_tile']:6.3f} s a tile, {row['share_of_peer']:5.2f} of the "
            f"peer's, cosine {row['cosine_to_peer']:.4f}\n"
        )
    if options.out:
        record = {
            "date": dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
            "machine": {
                "system": platform.platform(),
                "processors": os.cpu_count(),
                **machine.as_dict(),
            },
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
            "kernels": instruction_set(),
            "layers": config.vision_config.layers,
            "tiles": options.tiles,
            "operations_a_tile": model_sizes(config).flops_per_tile,
            "encoders": rows,
            "rounds": seconds,
        }
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(min(agreement.values()) < _LEAST_AGREEMENT)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=int, default=4, help="of a picture, as the engine has them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=27, help="of the encoder")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def _config(layers: int) -> DeepseekVLV2Config:
    """Tiny with next to no language model."""
    config = released_config("tiny")
    config.vision_config.layers = layers
    language = config.language_config
    language.num_hidden_layers, language.vocab_size = 1, 1000
    language.n_routed_experts = language.num_experts_per_tok = 2
    return config


def _encoders(config: DeepseekVLV2Config) -> dict[str, Encoder]:
    plain = random_model(config, torch.bfloat16)
    quantised = random_model(config, torch.bfloat16, VL2QuantizationConfig.named("int8"))
    _copy_weights(plain, quantised)
    # Before packing, which takes the plain weights out of our own model.
    peer = _peer(plain)
    return {PEER: peer, PLAIN: _ours(pack(plain)), QUANTISED: _ours(pack(quantised))}


def _ours(model: DeepseekVLV2ForCausalLM) -> Encoder:
    inside = model.model
    return lambda tiles: encode_tiles(inside.vision_tower, inside.projector, tiles)


def _copy_weights(plain: DeepseekVLV2ForCausalLM, quantised: DeepseekVLV2ForCausalLM) -> None:
    """Gives the encoder and adaptor of a model the weights of another, rounded as it has them."""
    sources = dict(plain.model.named_modules())
    for name, module in quantised.model.named_modules():
        if not name.startswith(("vision_tower", "projector")):
            continue
        made = dict(sources[name].named_parameters(recurse=False))
        if isinstance(module, QuantisedLinear):
            made |= module.quantised("weight", made["weight"].data)
        for leaf, value in made.items():
            setattr(module, leaf, nn.Parameter(value.data, requires_grad=False))


def _peer(plain: DeepseekVLV2ForCausalLM) -> Encoder:
    """SigLIP of transformers with the weights of our own, and the adaptor by torch."""
    tower: DeepseekVLV2VisionModel = plain.model.vision_tower
    config = tower.config
    shape = SiglipVisionConfig(
        hidden_size=config.width,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        image_size=config.image_size,
        patch_size=config.patch_size,
        vision_use_head=False,
    )
    shape._attn_implementation = "sdpa"
    with torch.device("meta"):
        model = SiglipVisionModel(shape).eval()
    inside = model.vision_model if hasattr(model, "vision_model") else model
    values = _their_names(tower)
    for name, _ in list(inside.named_parameters()):
        path, _, leaf = name.rpartition(".")
        given = nn.Parameter(values.pop(name), requires_grad=False)
        setattr(inside.get_submodule(path), leaf, given)
    positions = torch.arange(config.patches_per_side**2)[None]
    inside.embeddings.register_buffer("position_ids", positions, persistent=False)
    layers = list(plain.model.projector.layers)
    ratio = plain.config.projector_config.downsample_ratio

    def encode(tiles: torch.Tensor) -> torch.Tensor:
        x = fold_patches(model(pixel_values=tiles).last_hidden_state, ratio)
        for layer in layers:
            x = layer(x)
        return x

    return encode


def _their_names(tower: DeepseekVLV2VisionModel) -> dict[str, torch.Tensor]:
    """The weights of our encoder by the names that transformers gives its own."""
    values = {
        "embeddings.position_embedding.weight": tower.pos_embed.data[0],
        "embeddings.patch_embedding.weight": tower.patch_embed.proj.weight.data,
        "embeddings.patch_embedding.bias": tower.patch_embed.proj.bias.data,
        "post_layernorm.weight": tower.norm.weight.data,
        "post_layernorm.bias": tower.norm.bias.data,
    }
    for index, block in enumerate(tower.blocks):
        for leaf in ("weight", "bias"):
            merged = getattr(block.attn.qkv, leaf).data.chunk(3)
            parts = {f"self_attn.{n}_proj": part for n, part in zip("qkv", merged, strict=True)}
            parts["self_attn.out_proj"] = getattr(block.attn.proj, leaf).data
            parts |= {f"mlp.{n}": getattr(getattr(block.mlp, n), leaf).data for n in ("fc1", "fc2")}
            for theirs, ours in (("layer_norm1", block.norm1), ("layer_norm2", block.norm2)):
                parts[theirs] = getattr(ours, leaf).data
            for name, value in parts.items():
                values[f"encoder.layers.{index}.{name}.{leaf}"] = value
    return values


@torch.inference_mode()
def _agreement(encoders: dict[str, Encoder], tiles: torch.Tensor) -> dict[str, float]:
    """Mean cosine between the tokens of each encoder and the peer's, their common mean off."""
    rows = {name: encode(tiles).flatten(0, 1).float() for name, encode in encoders.items()}
    mean = rows[PEER].mean(dim=0)
    return {
        name: torch.cosine_similarity(given - mean, rows[PEER] - mean).mean().item()
        for name, given in rows.items()
    }


@torch.inference_mode()
def _take_turns(
    encoders: dict[str, Encoder], tiles: torch.Tensor, rounds: int
) -> dict[str, list[float]]:
    """Seconds a tile of each encoder, round by round; one round before is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    for counted in [False, *[True] * rounds]:
        for name, encode in encoders.items():
            started = time.perf_counter()
            encode(tiles)
            if counted:
                seconds[name].append((time.perf_counter() - started) / len(tiles))
    return seconds


if __name__ == "__main__":
    sys.exit(main())
