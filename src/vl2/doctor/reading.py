"""Tokenizer and processor: ids, layout and tiles against stored numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from vl2.chat import IMAGE_TOKEN
from vl2.doctor.findings import Finding, unusable
from vl2.errors import CheckpointError, ContextError
from vl2.grounding.boxes import GROUNDING, TAGS
from vl2.model.configuration import DeepseekVLV2Config
from vl2.model.loading import check_tiling
from vl2.processing.images import cut
from vl2.processing.processor import DeepseekVLV2Processor
from vl2.processing.tiling import CANDIDATE_RESOLUTIONS, Grid
from vl2.processing.tokens import ASSISTANT_TOKEN, USER_TOKEN

GENERATION = "generation_config.json"
_ENDS = "Download {} again, or mend it: answers would not end where they should."
_NAMES = (IMAGE_TOKEN, *TAGS, USER_TOKEN, ASSISTANT_TOKEN)
RELEASED_IDS = {
    102400: (100003, 100004, 100005, 100006, 100007, 100008, 100009, 100010),
    129280: (128815, 128816, 128817, 128818, 128819, 128820, 128821, 128822),
}
"""Ids of `<image>`, tags and roles in the released models, by the size of the vocabulary."""

GRIDS = {
    (384, 384): (1, 1, 421),
    (385, 384): (2, 1, 617),
    (640, 480): (2, 2, 1023),
    (300, 1000): (1, 3, 841),
    (1500, 420): (4, 2, 1807),
    (2600, 300): (7, 1, 1597),
    (800, 2300): (2, 4, 1835),
    (1200, 1700): (3, 3, 2017),
}
"""Columns, rows and tokens that the original release gives to pictures of these sizes."""

PICTURE_SIZE = (1000, 600)
TILE_NUMBERS = (
    (-0.0028, 0.4457),
    (-0.3588, 0.4679),
    (-0.1522, 0.4318),
    (0.0533, 0.5861),
    (-0.0543, 0.5824),
    (0.1517, 0.4309),
    (0.3468, 0.4744),
)
"""Mean and standard deviation of each tile of the picture that `arithmetic_picture` makes."""

_TOLERANCE = 2e-3  # versions of Pillow round differently when they resize


def check_ids(processor: DeepseekVLV2Processor, config: DeepseekVLV2Config) -> Finding:
    """Has every special token its own id, that of the released models where it is one of them?"""
    known = processor.tokenizer.get_vocab()
    ids = [known[name] for name in _NAMES]
    size = config.language_config.vocab_size
    advice = "The tokenizer belongs to another checkpoint: download that of this one."
    if max(known.values()) >= size:
        told = f"The tokenizer has ids up to {max(known.values())}, the model only {size} words."
        return Finding("tokenizer", "wrong", told, advice)
    if config.image_token_id not in (None, ids[0]):
        told = (
            f"{IMAGE_TOKEN} is {ids[0]} in the tokenizer, {config.image_token_id} in config.json."
        )
        return Finding("tokenizer", "wrong", told, advice)
    joined = [name for name in _NAMES if len(processor.vocabulary.encode_markup(name)) != 1]
    if joined or len(set(ids)) < len(ids):
        told = f"{', '.join(joined) or 'Some special tokens'} are not one token of their own."
        return Finding("tokenizer", "wrong", told, advice)
    released = RELEASED_IDS.get(size)
    if released is not None and tuple(ids) != released:
        shown = ", ".join(
            f"{n} {a}, not {b}" for n, a, b in zip(_NAMES, ids, released, strict=True)
        )
        return Finding("tokenizer", "wrong", f"Ids differ from the released ones: {shown}.", advice)
    told = f"{IMAGE_TOKEN} is {ids[0]}, {GROUNDING} {ids[_NAMES.index(GROUNDING)]}"
    like = ", as in the released models" if released is not None else ""
    return Finding("tokenizer", "fine", f"{told}{like}; all {len(ids)} special tokens are single.")


def check_ends(
    folder: Path, processor: DeepseekVLV2Processor, config: DeepseekVLV2Config
) -> Finding:
    """Are the ids that begin, end and pad a text words of the model, and the tokenizer's?"""
    language = config.language_config
    stated = {
        ("config.json", name): getattr(language, f"{name}_token_id")
        for name in ("bos", "eos", "pad")
    }
    stated |= {(GENERATION, name): value for name, value in _generation(folder).items()}
    tokenizer = processor.tokenizer
    right = {"bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id}
    odd = []
    for (file, name), value in stated.items():
        ids = value if isinstance(value, list) else [value] if value is not None else []
        for number in ids:
            why = _impossible(number, processor.image_token_id, language.vocab_size)
            if why:
                told = f"{name}_token_id in {file} is {number!r}, which is {why}."
                return Finding("ends", "wrong", told, _ENDS.format(file))
        if ids and right.get(name, ids[0]) not in ids:
            odd.append(f"{name}_token_id is {value} in {file}, {right[name]} in the tokenizer")
    if odd:
        return Finding("ends", "odd", f"{'; '.join(odd)}.", _ENDS.format(GENERATION))
    told = "Texts begin with {bos} and end with {eos} in all files.".format(**right)
    return Finding("ends", "fine", told)


def _generation(folder: Path) -> dict[str, Any]:
    """The ids that `generation_config.json` states; it need not be there."""
    file = folder / GENERATION
    held = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {name: held.get(f"{name}_token_id") for name in ("bos", "eos", "pad")}


def _impossible(number: object, image: int, size: int) -> str | None:
    """Why a token cannot begin, end or pad a text; None if it can."""
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < size:
        return f"none of the {size} words of the model"
    return f"that of {IMAGE_TOKEN}" if number == image else None


def check_layout(processor: DeepseekVLV2Processor) -> Finding:
    """Is a question laid out as the models were trained?"""
    prompt = processor.encode("Is it?")
    written = processor.tokenizer.decode(prompt.token_ids.tolist())
    wanted = f"{processor.tokenizer.bos_token}{USER_TOKEN}: Is it?\n\n{ASSISTANT_TOKEN}:"
    if written != wanted:
        told = f"A question is written {written!r} instead of {wanted!r}."
        advice = "The tokenizer changes text: download that of this checkpoint."
        return Finding("layout", "wrong", told, advice)
    return Finding("layout", "fine", "A question is laid out as the models were trained.")


def check_fit(processor: DeepseekVLV2Processor, config: DeepseekVLV2Config) -> Finding:
    """Does the processor cut pictures as the model takes them?"""
    try:
        check_tiling(processor.tiling, config)
    except CheckpointError as error:
        return unusable("processor", error)
    return Finding("processor", "fine", "Tiles and patches are those that config.json speaks of.")


def check_tiles(processor: DeepseekVLV2Processor) -> Finding:
    """Are pictures cut as the original release cuts them, and counted as they are cut?"""
    tiling = processor.tiling
    picture = arithmetic_picture()
    try:
        prompt = processor.encode("Is it?", [picture])
    except ContextError as error:
        advice = "Look at candidate_resolutions in processor_config.json."
        return Finding("tiles", "wrong", str(error), advice)
    counted = sum(tiling.tokens(grid) for grid in prompt.grids)
    if counted != int(prompt.image_mask.sum()):
        told = (
            f"A picture is counted as {counted} tokens but laid out as {prompt.image_mask.sum()}."
        )
        return Finding("tiles", "wrong", told, "Install vl2 again.")
    same = tiling.candidates == CANDIDATE_RESOLUTIONS
    if not same or (tiling.patch_size, tiling.downsample) != (14, 2):
        told = f"{len(tiling.candidates)} resolutions of tiles of {tiling.tile_size} pixels."
        return Finding(
            "tiles", "fine", f"{told} Their pixels are compared for the released models only."
        )
    for (width, height), (columns, rows, tokens) in GRIDS.items():
        grid = tiling.grid(width, height)
        if (grid.columns, grid.rows, tiling.tokens(grid)) != (columns, rows, tokens):
            told = f"{width}x{height} gets {grid.columns}x{grid.rows} tiles, not {columns}x{rows}."
            return Finding("tiles", "wrong", told, "Install vl2 again.")
    tiles = cut(picture, Grid(3, 2), tiling, processor.image_mean, processor.image_std)
    numbers = np.stack([tiles.mean((1, 2, 3)), tiles.std((1, 2, 3))], axis=1)
    if np.abs(numbers - np.array(TILE_NUMBERS)).max() > _TOLERANCE:
        told = "The pixels of a stored picture's tiles differ from the stored numbers."
        advice = (
            "Look at image_mean and image_std in processor_config.json, and at Pillow's version."
        )
        return Finding("tiles", "wrong", told, advice)
    return Finding("tiles", "fine", "Grids, counts and pixels are those of the original release.")


def arithmetic_picture() -> PIL.Image.Image:
    """A picture made by arithmetic, 1000x600: colours that change along both sides."""
    width, height = PICTURE_SIZE
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    channels = (x * 255 // (width - 1), y * 255 // (height - 1), (x + y) % 256)
    return PIL.Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))
