"""From a name to an assistant."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from vl2.engine.assistant import Assistant
from vl2.engine.batching import BatchingEngine
from vl2.engine.limits import Limits
from vl2.engine.memory import plan_memory
from vl2.engine.placement import choose_device, choose_dtype
from vl2.engine.sources import EMBEDDED, find_checkpoint
from vl2.engine.spelling import parse_size
from vl2.errors import CheckpointError, InputError
from vl2.model.adapters import merge_adapter
from vl2.model.loading import check_tiling, load_config, load_model
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.processing.processor import DeepseekVLV2Processor
from vl2.quantization.packing import pack
from vl2.quantization.plan import VL2QuantizationConfig, plan_of

_PROCESSOR_FILES = ("processor_config.json", "tokenizer_config.json", "tokenizer.json")


def load(
    name_or_path: str | os.PathLike[str] = EMBEDDED,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    quantize: str | None = None,
    memory: str | int | None = None,
    adapter: str | os.PathLike[str] | None = None,
    group_size: int | None = None,
) -> Assistant:
    """Load a model to talk to.

    Args:
        name_or_path: `nano` (embedded, needs no network), `tiny`, `small` or `base` (the released
            checkpoints, downloaded on first use), a folder, or a repository on huggingface.co.
        device: `auto` takes a CUDA GPU, else Apple's, else the CPU.
        dtype: `auto` takes float32 for small models, bfloat16 for larger ones, and float16 on
            CUDA GPUs that lack bfloat16.
        quantize: `int8` or `int4` to quantise the weights while they are read. `vl2 quantize`
            does so once for all, and its folders need no word here.
        memory: what all of it may take, such as `"8GB"`, or bytes: of the whole process on the CPU,
            of the device on a GPU. What the weights leave becomes cache. Without it the cache holds
            four full contexts.
        adapter: folder of low-rank adapters for this model, which are taken up into its weights
            (extra `train`).
        group_size: with `quantize`, columns of a row that share a scale, instead of as many as
            the scheme has: more take less memory and round more coarsely.

    Raises:
        CheckpointError: there is no such model, or it is incomplete, broken or quantised already.
        InputError: no such device, type or scheme, an adapter for quantised weights, or the memory
            is too small; nothing has been loaded then.
    """
    if adapter is not None and quantize is not None:
        raise InputError("Quantised weights take no adapter up: train, save, then quantise.")
    chosen = _choose(name_or_path, device, dtype, plan_of(quantize, group_size))
    limits = Limits() if memory is None else _limits(chosen, memory)
    model, processor = _load_chosen(chosen)
    if adapter is not None:
        model = merge_adapter(model, adapter)
    try:
        engine = BatchingEngine(pack(model), processor, limits)
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise CheckpointError(
            f"There is no room for {os.fspath(name_or_path)!r} and its cache on {model.device}: "
            "set a memory budget (memory=, --memory), or choose a smaller model."
        ) from error
    return Assistant(engine, processor)


def load_parts(
    name_or_path: str | os.PathLike[str],
    device: str | torch.device,
    dtype: str | torch.dtype,
    quantize: str | None = None,
    group_size: int | None = None,
) -> tuple[DeepseekVLV2ForCausalLM, DeepseekVLV2Processor]:
    """Load a model and its processor by themselves; arguments and errors as for `load`."""
    return _load_chosen(_choose(name_or_path, device, dtype, plan_of(quantize, group_size)))


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What is loaded, where to and how."""

    folder: Path
    device: torch.device
    dtype: torch.dtype
    quantization: VL2QuantizationConfig | None


def _choose(
    name_or_path: str | os.PathLike[str],
    device: str | torch.device,
    dtype: str | torch.dtype,
    quantization: VL2QuantizationConfig | None,
) -> _Chosen:
    place = choose_device(device)
    folder = find_checkpoint(name_or_path)
    weight_bytes = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return _Chosen(folder, place, choose_dtype(dtype, place, weight_bytes), quantization)


def _limits(chosen: _Chosen, memory: str | int) -> Limits:
    budget = parse_size(memory) if isinstance(memory, str) else memory
    config = load_config(chosen.folder)
    plan = plan_memory(config, chosen.dtype, chosen.device, budget, chosen.quantization)
    return plan.limits()


def _load_chosen(chosen: _Chosen) -> tuple[DeepseekVLV2ForCausalLM, DeepseekVLV2Processor]:
    processor = _load_processor(chosen.folder)
    model = load_model(
        chosen.folder,
        device=chosen.device,
        dtype=chosen.dtype,
        quantization=chosen.quantization,
    )
    check_tiling(processor.tiling, model.config)
    return model, processor


def _load_processor(folder: Path) -> DeepseekVLV2Processor:
    """The processor of a folder, its files checked first.

    The libraries below fill in for absent files or fail without naming the file.
    """
    for name in _PROCESSOR_FILES:
        file = folder / name
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise CheckpointError(
                f"{file} is absent or unreadable: download the checkpoint again."
            ) from error
        except (ValueError, RecursionError) as error:
            raise CheckpointError(
                f"{file} is corrupt or only half downloaded ({error}): download it again."
            ) from error
        if not isinstance(values, dict):
            raise CheckpointError(f"{file} must hold a JSON object: download it again.")
    try:
        return DeepseekVLV2Processor.from_pretrained(folder, local_files_only=True)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"The processor of {folder} cannot be used ({reason}): download the checkpoint again."
        ) from error
