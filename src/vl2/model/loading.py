"""Loading a checkpoint folder, or one sentence on why it cannot be loaded.

transformers fills missing tensors with random numbers and says so in a log line. Here the files are
checked first, by their headers: nothing is allocated before it is clear that all is there.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers.quantizers import AutoHfQuantizer, HfQuantizer
from transformers.utils import logging
from transformers.utils.quantization_config import QuantizationConfigMixin

from vl2.errors import CheckpointError
from vl2.model.configuration import DeepseekVLV2Config, config_from_dict
from vl2.model.configuration_keys import QUANTIZATION_METHOD
from vl2.model.conversion import official_shapes
from vl2.model.image_token import find_image_token_id
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.model.registration import register
from vl2.processing.tiling import Tiling

_INDEX = "model.safetensors.index.json"
_LONGEST_NAME = 255


def load_model(
    path: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype = "auto",
    quantization: QuantizationConfigMixin | None = None,
) -> DeepseekVLV2ForCausalLM:
    """Loads a checkpoint in the official layout, for inference.

    Args:
        path: folder with `config.json` and safetensors files.
        device: where to put the model.
        dtype: of the weights; `auto` for that of the files.
        quantization: how to quantise weights while they are read; None for none. A checkpoint that
            is quantised already needs none.

    Raises:
        CheckpointError: a file is absent, corrupt or half-downloaded, tensors are missing, unknown
            or of other shapes, the configuration is not that of a DeepSeek-VL2, or the device is
            too small.
    """
    folder = Path(path)
    config = load_config(folder)
    check_tensors(folder, config)
    if quantization is not None and getattr(config, "quantization_config", None) is not None:
        raise CheckpointError(
            f"{folder} is quantised already: load it as it is, or start from the original."
        )
    _check_generation(folder / "generation_config.json")
    register()
    try:
        with without_bars():
            model = DeepseekVLV2ForCausalLM.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                quantization_config=quantization,
                local_files_only=True,
            )
    except (OSError, SafetensorError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{folder} cannot be loaded: {_one_line(error)}") from error
    if config.image_token_id is None:
        config.image_token_id = find_image_token_id(folder)
    try:
        return model.to(device).eval()
    except torch.OutOfMemoryError as error:
        raise CheckpointError(
            f"{folder} does not fit into the memory of {device}: choose another device, a type of "
            "fewer bytes or a smaller model."
        ) from error


def _check_generation(file: Path) -> None:
    """Refuse what is no number where answers end or tokens are left out; the file may be absent."""
    values = _read_json(file) if file.is_file() else {}
    for name in ("eos_token_id", "suppress_tokens"):
        stated = values.get(name)
        for number in stated if isinstance(stated, list) else [stated]:
            if number is not None and type(number) is not int:
                raise CheckpointError(
                    f"{file}: {name} holds {number!r}, which is no token's number; download it "
                    "again."
                )


@contextmanager
def without_bars() -> Iterator[None]:
    """Keep transformers from drawing bars of its progress; what the user had set comes back."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def load_config(folder: str | os.PathLike[str]) -> DeepseekVLV2Config:
    """Reads `config.json` of a checkpoint folder.

    Raises:
        CheckpointError: there is none, or it is not that of a DeepSeek-VL2.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; give the folder of a checkpoint.")
    values = _read_json(folder / "config.json")
    model_type = values.get("model_type")
    if model_type != DeepseekVLV2Config.model_type:
        raise CheckpointError(
            f"{folder / 'config.json'} describes a {model_type!r} model, not a "
            f"{DeepseekVLV2Config.model_type!r}; give a DeepSeek-VL2 checkpoint."
        )
    if "quantization_config" in values:
        _check_quantization(values["quantization_config"], folder / "config.json")
    return config_from_dict(values)


def _check_quantization(stated: object, file: Path) -> None:
    """Refuse what other programs have quantised: their modules are not ours."""
    if not isinstance(stated, dict):
        raise CheckpointError(f"{file}: quantization_config must be a JSON object, or absent.")
    if stated.get("quant_method") != QUANTIZATION_METHOD or "bits" not in stated:
        raise CheckpointError(
            f"{file}: the quantization_config {str(stated)[:80]} is not of vl2's making: take the "
            "original checkpoint, and run vl2 quantize on it."
        )


def check_tensors(folder: Path, config: DeepseekVLV2Config) -> None:
    """Checks that the files hold just the tensors that the configuration asks for.

    Raises:
        CheckpointError: they do not.
    """
    with torch.device("meta"):
        model = DeepseekVLV2ForCausalLM(config)
    stored = getattr(config, "quantization_config", None)
    if stored is not None:
        _quantizer(folder, stored).preprocess_model(model)
    wanted = official_shapes(model)
    found = _stored_shapes(folder)
    missing, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing:
        raise CheckpointError(
            f"{folder} lacks {_some(missing)}; download the checkpoint again, or its config.json "
            "belongs to another one."
        )
    if unknown:
        raise CheckpointError(
            f"{folder} holds {_some(unknown)} that the model does not have; its config.json "
            "belongs to another checkpoint."
        )
    for name, shape in wanted.items():
        if found[name] != shape:
            raise CheckpointError(
                f"{folder}: tensor {name} has the shape {list(found[name])}, but config.json asks "
                f"for {list(shape)}."
            )


def _quantizer(folder: Path, stored: dict[str, Any]) -> HfQuantizer:
    """What gives a model the modules of a quantised checkpoint."""
    try:
        return AutoHfQuantizer.from_config(stored, pre_quantized=True)
    except (TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{folder / 'config.json'}: its quantization_config is not usable ({_one_line(error)})."
        ) from error


def _stored_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for file in weight_files(folder):
        if not file.is_file():
            raise CheckpointError(f"{file} is absent; download the checkpoint again.")
        try:
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - not a mapping
                    shapes[name] = tuple(tensors.get_slice(name).get_shape())
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{file} is corrupt or only half downloaded ({_one_line(error)}); "
                "download it again."
            ) from error
    return shapes


def check_tiling(tiling: Tiling, config: DeepseekVLV2Config) -> None:
    """Check that pictures are cut as the model takes them; else tokens would be miscounted.

    Raises:
        CheckpointError: tiles or patches have another size, or patches are joined otherwise.
    """
    cut = (tiling.tile_size, tiling.patch_size, tiling.downsample)
    vision = config.vision_config
    taken = (vision.image_size, vision.patch_size, config.projector_config.downsample_ratio)
    if cut != taken:
        raise CheckpointError(
            "processor_config.json speaks of tiles of {} pixels, patches of {} and a downsample "
            "ratio of {}, config.json of {}, {} and {}; they belong to different "
            "checkpoints.".format(*cut, *taken)
        )


def weight_files(folder: Path) -> list[Path]:
    """The files of a checkpoint that hold tensors, in order; they need not exist.

    Raises:
        CheckpointError: the index of the files is broken.
    """
    if (folder / _INDEX).is_file():
        index = _read_json(folder / _INDEX).get("weight_map")
        if not isinstance(index, dict):
            raise CheckpointError(f"{folder / _INDEX} has no weight_map; download it again.")
        names = sorted({str(name) for name in index.values()})
        for name in names:
            if Path(name).name != name or "\0" in name or len(os.fsencode(name)) > _LONGEST_NAME:
                told = f"{folder / _INDEX} names {name[:80]!r}, which is no file in its folder"
                raise CheckpointError(f"{told}; download it again.")
        return [folder / name for name in names]
    return [folder / "model.safetensors"]


def _read_json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{file} is absent or unreadable; is this a checkpoint?") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is not JSON ({_one_line(error)}).") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{file} must hold a JSON object.")
    return values


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - 1} more tensors" if len(names) > 1 else ""
    return f"tensor {names[0]}{rest}"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
