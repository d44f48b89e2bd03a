"""Where a model runs and in which precision."""

from __future__ import annotations

import torch

from vl2.engine.spelling import DTYPES, check_device, check_dtype
from vl2.errors import InputError

SMALL_MODEL_BYTES = 2**30
"""A model whose files are smaller than this runs in float32 everywhere."""

_DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in DTYPES}


def choose_device(wanted: str | torch.device = "auto") -> torch.device:
    """The device to run on: with `"auto"` a CUDA GPU, else Apple's, else the CPU.

    Raises:
        InputError: no such device.
    """
    check_device(str(wanted))
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(wanted)
    count = torch.cuda.device_count()
    absent_gpu = device.type == "cuda" and (device.index or 0) >= count
    if absent_gpu or (device.type == "mps" and not torch.backends.mps.is_available()):
        raise InputError(f"There is no device {str(wanted)!r} on this machine: use auto or cpu.")
    return device


def choose_dtype(wanted: str | torch.dtype, device: torch.device, weight_bytes: int) -> torch.dtype:
    """The type of the weights.

    With `"auto"` a small model gets float32, for it costs nothing there. A larger one gets
    bfloat16, on the CPU too (a processor without bfloat16 units computes it slowly, but float32
    would take twice the memory), and float16 on CUDA GPUs that lack bfloat16.

    Args:
        wanted: `"auto"`, the name of a type, or the type.
        device: where the model will run.
        weight_bytes: size of the files that hold its weights.

    Raises:
        InputError: no such type.
    """
    if isinstance(wanted, torch.dtype) and wanted in _DTYPES.values():
        return wanted
    check_dtype(str(wanted))
    if wanted != "auto":
        return _DTYPES[str(wanted)]
    if weight_bytes < SMALL_MODEL_BYTES:
        return torch.float32
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return torch.bfloat16
