"""Several devices, through the distributed configuration of transformers.

Weights are sharded with FSDP2, routed experts divided with expert parallelism, and both together;
transformers places the shards while it loads a checkpoint, and its Trainer recognises such a model.
Processes are started by `torchrun` or `accelerate launch`, one for each device.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import distributed
from transformers.distributed import DistributedConfig

from vl2.model.loading import check_tensors, load_config
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.model.registration import register
from vl2.train.plan import shard_count
from vl2.train.recipe import Recipe

Shared = TypeVar("Shared")


def device_count() -> int:
    """Processes that train together, as the launcher says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that writes files."""
    return int(os.environ.get("RANK", "0")) == 0


def wait_for_all() -> None:
    """Returns when every process has come here; at once if there is one."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()


def total(values: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over all processes."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return values
    values = values.clone()
    distributed.all_reduce(values)
    return values


def everyones(value: Shared) -> list[Shared]:
    """What each process hands in, in the order of their ranks; every process gets the list."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [value]
    found: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(found, value)
    return found


def load_sharded(folder: Path, recipe: Recipe, dtype: torch.dtype) -> DeepseekVLV2ForCausalLM:
    """Load a checkpoint so that each process holds only its share.

    Args:
        folder: of a checkpoint in the official layout, or one that a run of any layout wrote.
        recipe: says among how many devices weights and experts are divided.
        dtype: of the weights.

    Raises:
        InputError: the devices cannot be divided as the recipe says.
        CheckpointError: the checkpoint is broken.
    """
    config = load_config(folder)
    check_tensors(folder, config)
    shards = shard_count(recipe, config, device_count())
    register()
    layout = DistributedConfig(
        fsdp_size=shards,
        dp_replicate_size=recipe.replicas,
        ep_size=recipe.ep_size,
        # Gathered in bfloat16 and reduced in float32: autocast would keep a cast of every layer.
        fsdp_mixed_precision=recipe.bf16,
    )
    model = DeepseekVLV2ForCausalLM.from_pretrained(
        folder, config=config, dtype=dtype, distributed_config=layout, local_files_only=True
    )
    return model.train()
