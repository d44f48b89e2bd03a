"""Tensors of a checkpoint: names, shapes, types, and numbers that are none."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
from safetensors import SafetensorError

from vl2.doctor.files import open_weights
from vl2.doctor.findings import AGAIN, Finding, unusable
from vl2.errors import CheckpointError
from vl2.model.configuration import DeepseekVLV2Config
from vl2.model.loading import check_tensors

_FLOATS = ("BF16", "F16", "F32")


def check_names(folder: Path, config: DeepseekVLV2Config) -> Finding:
    """Do the files hold just the tensors, in just the shapes, that the configuration asks for?"""
    try:
        check_tensors(folder, config)
    except CheckpointError as error:
        return unusable("tensors", error)
    return Finding("tensors", "fine", "Names and shapes are those that config.json asks for.")


def check_types(folder: Path, config: DeepseekVLV2Config) -> Finding:
    """Are the weights stored in types that keep what they need to?"""
    types: Counter[str] = Counter()
    try:
        for _, opened in open_weights(folder):
            types.update(opened.get_slice(name).get_dtype() for name in opened.keys())  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        return Finding("types", "wrong", f"A file of weights is broken: {error}", AGAIN)
    told = ", ".join(f"{count} tensors in {dtype}" for dtype, count in types.most_common())
    strange = [dtype for dtype in types if dtype not in _FLOATS]
    if strange and getattr(config, "quantization_config", None) is None:
        advice = "Take a checkpoint in bfloat16, or one whose config.json says how it is quantised."
        return Finding("types", "wrong", f"{told}; config.json explains no {strange[0]}.", advice)
    return Finding("types", "fine", f"{told}.")


def check_numbers(folder: Path) -> Finding:
    """Is every weight a finite number, and no tensor empty of information?"""
    broken: list[str] = []
    flat: list[str] = []
    count = 0
    try:
        for _, opened in open_weights(folder):
            for name in opened.keys():  # noqa: SIM118 - not a mapping
                tensor = opened.get_tensor(name)
                count += 1
                if not tensor.is_floating_point():
                    continue
                if not torch.isfinite(tensor.float()).all():
                    broken.append(name)
                elif (tensor.ndim > 1 or _scales(name)) and not tensor.any():
                    flat.append(name)
    except (SafetensorError, OSError) as error:
        return Finding("numbers", "wrong", f"A file of weights is broken: {error}", AGAIN)
    if broken:
        told = f"{len(broken)} tensors hold numbers that are not finite, such as {broken[0]}."
        return Finding("numbers", "wrong", told, f"{AGAIN} If it was trained here, it diverged.")
    if flat:
        told = f"{len(flat)} tensors are all zero, such as {flat[0]}."
        return Finding("numbers", "odd", told, "Was the checkpoint saved before it was filled?")
    return Finding("numbers", "fine", f"All numbers of {count} tensors are finite.")


def _scales(name: str) -> bool:
    """Whether a tensor is the weight of a norm, which zeros would silence."""
    return "norm" in name and name.endswith(".weight")
