"""Models and inputs that the tests of the model share."""

import functools
from pathlib import Path

import numpy as np
import torch
from golden import CONVERSATIONS, GOLDEN, checkpoint, load_tensors

from vl2.model.loading import load_model
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.processing.images import cut, open_image
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


def close(actual: torch.Tensor, expected: torch.Tensor | np.ndarray, tolerance: float = 1e-4) -> None:
    """Asserts equality within `tolerance` of the largest expected number."""
    expected = torch.as_tensor(expected)
    assert actual.shape == expected.shape
    error = (actual - expected).abs().max().item()
    bound = tolerance * expected.abs().max().item()
    assert error <= bound, f"differs by {error:.2e}, allowed are {bound:.2e}"
