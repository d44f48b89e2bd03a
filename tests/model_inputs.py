"""Models and inputs that the tests of the model share."""

import functools
from pathlib import Path

import numpy as np
import torch
from golden import CONVERSATIONS, GOLDEN, checkpoint, load_tensors
from transformers import AutoTokenizer

from vl2.model.configuration import DeepseekVLV2Config
from vl2.model.loading import load_model
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.processing.images import cut, open_image
from vl2.processing.processor import DeepseekVLV2Processor
from vl2.processing.tiling import Grid, Tiling

TILING = Tiling()


@functools.cache
def model_of(variant: str) -> DeepseekVLV2ForCausalLM:
    """A golden checkpoint in float32; shared, so tests must not change it."""
    return load_model(checkpoint(variant), dtype=torch.float32)


@functools.cache
def _tiles(picture: Path, columns: int, rows: int) -> torch.Tensor:
    return torch.from_numpy(cut(open_image(picture), Grid(columns, rows), TILING))


def pictures_of(name: str, kind: str = "cases") -> list[Path]:
    """The pictures of a golden conversation."""
    turns = CONVERSATIONS[kind][name]
    return [GOLDEN / path for turn in turns for path in turn.get("images", [])]


def inputs_of(variant: str, name: str) -> dict[str, torch.Tensor]:
    """What the model takes for one golden case, a batch of one row."""
    inputs = {"input_ids": _stored(variant, f"{name}.input_ids")[None]}
    pictures = pictures_of(name)
    if pictures:
        crops = _stored(variant, f"{name}.images_spatial_crop")
        inputs |= _images(pictures, crops)
    return inputs


def training_inputs_of(variant: str, masked: str) -> dict[str, torch.Tensor]:
    """What the model takes for the golden training pair, a batch of one row with labels."""
    prefix = f"train_pair.{masked}"
    inputs = {
        "input_ids": _stored(variant, f"{prefix}.input_ids")[None],
        "labels": _stored(variant, f"{prefix}.labels")[None],
    }
    # One small picture: a single local tile.
    return inputs | _images(pictures_of("train_pair", "training_cases"), torch.tensor([[1, 1]]))


def _images(pictures: list[Path], crops: torch.Tensor) -> dict[str, torch.Tensor]:
    tiles = [_tiles(p, *crop) for p, crop in zip(pictures, crops.tolist(), strict=True)]
    return {"pixel_values": torch.cat(tiles), "images_spatial_crop": crops}


def _stored(variant: str, name: str) -> torch.Tensor:
    return torch.from_numpy(load_tensors(variant)[name].astype(np.int64))


def close(
    actual: torch.Tensor, expected: torch.Tensor | np.ndarray, tolerance: float = 1e-4
) -> None:
    """Asserts equality within `tolerance` of the largest expected number."""
    expected = torch.as_tensor(expected)
    assert actual.shape == expected.shape
    error = (actual - expected).abs().max().item()
    bound = tolerance * expected.abs().max().item()
    assert error <= bound, f"differs by {error:.2e}, allowed are {bound:.2e}"


IMAGE, BOS, EOS, PAD, VOCABULARY = 5, 0, 1, 2, 64
_ROUTERS = {
    "tiny": {},
    "small": {},
    "base": {
        "topk_method": "noaux_tc",
        "scoring_func": "sigmoid",
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.0,
    },
}


def mini_config(variant: str, **language: object) -> DeepseekVLV2Config:
    """The shape of a release in miniature: tiles of 20 pixels, 5x5 patches, 9 tokens a tile."""
    mla = {
        "kv_lora_rank": 16,
        "qk_nope_head_dim": 8,
        "qk_rope_head_dim": 4,
        "v_head_dim": 8,
    }
    return DeepseekVLV2Config(
        vision_config={
            "width": 16,
            "layers": 2,
            "heads": 2,
            "mlp_ratio": 2.0,
            "patch_size": 4,
            "image_size": 20,
        },
        projector_config={"input_dim": 16, "n_embed": 32},
        language_config={
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "intermediate_size": 48,
            "moe_intermediate_size": 16,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "n_routed_experts": 6,
            "n_shared_experts": 2,
            "num_experts_per_tok": 2,
            "first_k_dense_replace": 1,
            "q_lora_rank": None,
            "use_mla": variant != "tiny",
            "max_position_embeddings": 4096,
            "initializer_range": 0.2,
            "bos_token_id": BOS,
            "eos_token_id": EOS,
            "pad_token_id": PAD,
            **(mla if variant != "tiny" else {}),
            **_ROUTERS[variant],
            **language,
        },
        candidate_resolutions=[[20, 20], [20, 40], [40, 20]],
        image_token_id=IMAGE,
    )


def mini_model(variant: str, seed: int = 0, **language: object) -> DeepseekVLV2ForCausalLM:
    """A fresh random miniature, for tests that change it."""
    torch.manual_seed(seed)
    model = DeepseekVLV2ForCausalLM(mini_config(variant, **language)).eval()
    for name, buffer in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            buffer.normal_(std=0.1)
    return model


def mini_prompt(grids: list[tuple[int, int]], words: int = 6, seed: int = 0) -> dict:
    """A prompt of one row: pictures of the given grids, then some words."""
    generator = torch.Generator().manual_seed(seed)
    slots = [IMAGE] * sum(13 + 3 * rows * (3 * columns + 1) for columns, rows in grids)
    text = torch.randint(6, VOCABULARY, (words,), generator=generator).tolist()
    tiles = sum(1 + columns * rows for columns, rows in grids)
    prompt = {"input_ids": torch.tensor([[BOS, *slots, *text]])}
    if grids:
        prompt["pixel_values"] = torch.randn(tiles, 3, 20, 20, generator=generator)
        prompt["images_spatial_crop"] = torch.tensor(grids)
    return prompt


def left_padded(prompts: list[dict]) -> dict:
    """Several prompts as one batch, shorter ones padded on the left."""
    longest = max(prompt["input_ids"].shape[1] for prompt in prompts)
    ids = torch.full((len(prompts), longest), PAD)
    mask = torch.zeros(len(prompts), longest, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        length = prompt["input_ids"].shape[1]
        ids[row, longest - length :], mask[row, longest - length :] = prompt["input_ids"][0], 1
    batch = {"input_ids": ids, "attention_mask": mask}
    for name in ("pixel_values", "images_spatial_crop"):
        parts = [prompt[name] for prompt in prompts if name in prompt]
        if parts:
            batch[name] = torch.cat(parts)
    return batch


def mini_checkpoint(folder: Path, variant: str = "base") -> Path:
    """A random miniature with its processor, in the official layout: 16 or 25 tokens a picture."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint(variant))
    sizes = mini_config(variant).candidate_resolutions
    processor = DeepseekVLV2Processor(tokenizer, candidate_resolutions=sizes, patch_size=4)
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id")}
    torch.manual_seed(0)
    config = mini_config(variant, vocab_size=len(tokenizer), **ids)
    config.image_token_id = processor.image_token_id
    DeepseekVLV2ForCausalLM(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
