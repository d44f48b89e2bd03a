"""The golden outputs of the original release, as plain functions.

`checkpoint(variant)` is a folder in the official layout, `load_case(variant, name)` what the
original computed for one conversation, `messages(name)` the conversation itself with pictures as
paths that open. Tensors are numpy arrays (`load_tensors` gives all of a variant). What the names
mean is written at `Case`. Import it with `from tests import golden`.
"""

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from safetensors import safe_open

GOLDEN = Path(__file__).parent / "data" / "golden"
VARIANTS = ("tiny", "small", "base")
CONVERSATIONS = json.loads((GOLDEN / "conversations.json").read_text(encoding="utf-8"))
CASES = tuple(CONVERSATIONS["cases"])

# Pillow 13 resizes tall pictures with other roundings than 9 to 12 did (up to 3 of 255 levels in
# a tenth of the pixels), and it made the golden outputs.
EXACT_TILES = int(PIL.__version__.split(".")[0]) >= 13


@dataclass(frozen=True)
class Case:
    """One conversation: what was said, and what the original made of it.

    `info` has `sft_format`, `num_image_tokens`, `n_tokens`, `n_tiles`; `tensors` has `input_ids`,
    `images_seq_mask`, `images_spatial_crop`, `tiles_every_32nd_pixel`, `tiles_mean`, `tiles_std`,
    `inputs_embeds_every_37th`, `logits_last_4`, `greedy_tokens`.
    """

    name: str
    messages: list[dict]
    info: dict
    tensors: dict[str, np.ndarray]


def checkpoint(variant: str) -> Path:
    """The folder of a tiny random checkpoint: `tiny`, `small` or `base`."""
    return GOLDEN / "checkpoints" / variant


def picture(name: str) -> Path:
    """A picture by its name, e.g. `640x480.png`."""
    return GOLDEN / "images" / name


@functools.cache
def facts(variant: str) -> dict:
    """Everything in `VARIANT.json`."""
    return json.loads((GOLDEN / f"{variant}.json").read_text(encoding="utf-8"))


@functools.cache
def load_tensors(variant: str) -> dict[str, np.ndarray]:
    """Everything in `VARIANT.safetensors`."""
    with safe_open(GOLDEN / f"{variant}.safetensors", framework="np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def messages(name: str, *, training: bool = False) -> list[dict]:
    """A conversation in the original's spelling, with pictures as paths that open."""
    said = CONVERSATIONS["training_cases" if training else "cases"][name]
    return [
        {**message, "images": [str(GOLDEN / path) for path in message["images"]]}
        if "images" in message
        else dict(message)
        for message in said
    ]


def load_case(variant: str, name: str) -> Case:
    """One case of one variant."""
    prefix = f"{name}."
    tensors = {
        key.removeprefix(prefix): value
        for key, value in load_tensors(variant).items()
        if key.startswith(prefix)
    }
    return Case(name, messages(name), facts(variant)["cases"][name], tensors)
