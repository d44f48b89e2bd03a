"""The processes that train together: one a device, started by `torchrun` or `accelerate`."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

from vl2.train.layout import divides_weights
from vl2.train.recipe import Recipe

Shared = TypeVar("Shared")

_PATIENCE = timedelta(hours=2)
"""One process may measure the data or read a checkpoint while the others wait."""


def device_count() -> int:
    """Processes that train together, as the launcher says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_sharded(recipe: Recipe) -> bool:
    """Whether each process holds a share of the weights."""
    return divides_weights(recipe, device_count())


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


_LAUNCHER = ("FSDP_", "ACCELERATE_USE_FSDP", "ACCELERATE_MIXED_PRECISION")


def join() -> None:
    """Meet the other processes that the launcher started, if there are any.

    How weights are divided and in which precision is computed follows from the recipe; what
    `accelerate launch` says about either would be taken first, so it is taken away.
    """
    for name in [name for name in os.environ if name.startswith(_LAUNCHER)]:
        del os.environ[name]
    if device_count() > 1 and not distributed.is_initialized():
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=_PATIENCE)
