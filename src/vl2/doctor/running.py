"""Device, memory, positions and a first answer."""

from __future__ import annotations

import math
import os

import torch

from vl2.doctor.findings import Finding
from vl2.doctor.reading import arithmetic_picture
from vl2.engine import Assistant
from vl2.errors import VL2Error
from vl2.model.configuration import DeepseekVLV2Config
from vl2.model.sizes import PRECISIONS, model_sizes
from vl2.ops.rope import rotary_tables

_TOKENS = 4


def check_memory(config: DeepseekVLV2Config, device: torch.device, dtype: torch.dtype) -> Finding:
    """Do weights and a full context fit into the memory of the device?"""
    sizes = model_sizes(config)
    width = PRECISIONS[str(dtype).removeprefix("torch.")]
    needed = width * (sizes.total + sizes.cache_values_per_token * sizes.context)
    free = _free_bytes(device)
    told = f"{needed / 1e9:.2f} GB are needed in {str(dtype).removeprefix('torch.')} on {device}"
    if free is None:
        return Finding("memory", "not checked", f"{told}; how much is free is not known.")
    told = f"{told}, {free / 1e9:.2f} GB are free."
    if needed > free:
        advice = "Close other programs, take a type of fewer bytes, or a smaller model."
        return Finding("memory", "wrong", told, advice)
    return Finding("memory", "fine", told)


def check_positions(config: DeepseekVLV2Config) -> Finding:
    """Does every position of the context keep a rotation of its own, close to the exact one?"""
    language = config.language_config
    dim, theta, context = language.head_dim, language.rope_theta, language.max_position_embeddings
    cos, sin = rotary_tables(torch.arange(context)[None], dim, theta)
    pairs = torch.arange(0, dim, 2, dtype=torch.float64)
    angles = torch.arange(context, dtype=torch.float64)[:, None] * theta ** (-pairs / dim)
    error = max(
        float((cos[0].double() - angles.cos()).abs().max()),
        float((sin[0].double() - angles.sin()).abs().max()),
    )
    # An angle of up to `context` in float32 has an error of half a unit in its last place.
    allowed = context * 2.0**-22
    distinct = len(torch.unique(torch.cat((cos[0], sin[0]), dim=-1), dim=0))
    told = f"{distinct} of {context} positions differ; rotations are exact to {error:.1e}."
    if distinct < context or error > allowed or math.isnan(error):
        return Finding("positions", "wrong", told, "Install vl2 again.")
    return Finding("positions", "fine", told)


def check_answer(assistant: Assistant) -> Finding:
    """Does the model answer a question about a picture, twice the same?"""
    try:
        said = [
            assistant.ask(arithmetic_picture(), "What is this?", max_tiles=1, max_tokens=_TOKENS)
            for _ in range(2)
        ]
    except (VL2Error, RuntimeError) as error:
        told = f"The model cannot answer: {' '.join(str(error).split())[:300]}"
        advice = "If the memory is too small, take a smaller type; else report this."
        return Finding("answer", "wrong", told, advice)
    if said[0].text != said[1].text:
        told = f"The same question got {said[0].text!r} and {said[1].text!r}."
        return Finding("answer", "odd", told, "Kernels of this device are not deterministic.")
    told = (
        f"Asked twice about a test picture, it began {said[0].text!r} both times "
        f"({assistant.dtype} on {assistant.device})."
    )
    return Finding("answer", "fine", told)


def _free_bytes(device: torch.device) -> int | None:
    """Free memory of a device; on a CPU what the system counts as available."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu" or not hasattr(os, "sysconf"):
        return None
    names = os.sysconf_names
    if "SC_AVPHYS_PAGES" not in names or "SC_PAGE_SIZE" not in names:
        return None
    return max(
        _available_by_linux() or 0, os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    )


def _available_by_linux() -> int | None:
    """What Linux could give to a program, caches of files included."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123 - no file of ours
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None
    return None
