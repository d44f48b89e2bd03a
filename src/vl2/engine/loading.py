"""From a name to an assistant."""

from __future__ import annotations

import os

import torch

from vl2.engine.assistant import Assistant
from vl2.engine.placement import choose_device, choose_dtype
from vl2.engine.sequential import SequentialEngine
from vl2.engine.sources import EMBEDDED, find_checkpoint
from vl2.model.loading import load_model
from vl2.processing.processor import DeepseekVLV2Processor


def load(
    name_or_path: str | os.PathLike[str] = EMBEDDED,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
) -> Assistant:
    """Load a model to talk to.

    Args:
        name_or_path: `nano` (embedded, needs no network), `tiny`, `small` or `base` (the released
            checkpoints, downloaded on first use), a folder, or a repository on huggingface.co.
        device: `auto` takes a CUDA GPU, else Apple's, else the CPU.
        dtype: `auto` takes float32 for small models, bfloat16 for larger ones, and float16 on
            CUDA GPUs that lack bfloat16.

    Raises:
        CheckpointError: there is no such model, or it is incomplete or broken.
        InputError: no such device or type.
    """
    folder = find_checkpoint(name_or_path)
    place = choose_device(device)
    processor = DeepseekVLV2Processor.from_pretrained(folder)
    weight_bytes = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    model = load_model(folder, device=place, dtype=choose_dtype(dtype, place, weight_bytes))
    return Assistant(SequentialEngine(model, processor), processor)
