"""What a checkpoint keeps beside the weights, so that a run of any layout can go on from it.

The optimizer's state is written by the names of the parameters, in pieces, each process its own
(torch's distributed checkpoints), and read again by name: on one device, or sharded otherwise.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

try:
    from transformers.distributed.checkpoint import (
        load_optimizer_distributed,
        save_optimizer_distributed,
    )
except ImportError:  # where older versions have them
    from transformers.distributed.utils import (  # pyrefly: ignore[missing-module-attribute]
        load_optimizer_distributed,  # pyrefly: ignore[missing-module-attribute]
        save_optimizer_distributed,  # pyrefly: ignore[missing-module-attribute]
    )

OPTIMIZER_NAME = "optimizer"


def save_optimizer(learner: nn.Module, optimizer: Optimizer, checkpoint: Path) -> None:
    """Write the state of an optimizer; every process calls it."""
    _complete(optimizer)
    with _alone_is_fine():
        save_optimizer_distributed(learner, optimizer, str(checkpoint / OPTIMIZER_NAME))


def load_optimizer(learner: nn.Module, optimizer: Optimizer, checkpoint: Path) -> None:
    """Read what `save_optimizer` wrote, in whatever layout; every process calls it."""
    with _alone_is_fine():
        load_optimizer_distributed(learner, optimizer, str(checkpoint / OPTIMIZER_NAME))


def has_optimizer(checkpoint: Path) -> bool:
    """Whether a checkpoint holds what `save_optimizer` writes."""
    return (checkpoint / OPTIMIZER_NAME / ".metadata").is_file()


def _complete(optimizer: Optimizer) -> None:
    """Give parameters that had no gradient yet the state they would begin with.

    An encoder that has seen no picture has none, while reading asks for all.
    """
    known = next((state for state in optimizer.state.values() if "step" in state), None)
    if known is None:
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if not optimizer.state[parameter]:
                optimizer.state[parameter] = _untouched(parameter, known, group)


def _untouched(
    parameter: torch.Tensor, known: dict[str, Any], group: dict[str, Any]
) -> dict[str, torch.Tensor]:
    moments = known["exp_avg"].dtype
    first = {"exp_avg": torch.zeros_like(parameter, dtype=moments)}
    if group.get("matrices"):  # of Muon, which keeps the first moment alone
        return first
    second = torch.zeros_like(parameter, dtype=moments)
    return {"step": torch.zeros_like(known["step"]), **first, "exp_avg_sq": second}


@contextlib.contextmanager
def _alone_is_fine() -> Iterator[None]:
    """Keeps torch from remarking that there is one process only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is", UserWarning)
        yield
