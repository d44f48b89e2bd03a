"""How evenly the experts of a run are used, and what is done about it (arXiv 2408.15664)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vl2.train.averages import Averages
from vl2.train.ranks import total

EXPERTS_NAME = "experts.jsonl"
_IDLE = 0.1
"""Experts with less than this share of the mean load count as idle."""


class ExpertWatch:
    """Sums the load of the experts over passes and processes, step by step.

    Args:
        learner: has `correct_router_biases`, if it has experts.
        bias_step: step of the routers' correction bias; 0 to leave it.
        averages: takes `busiest_expert` (the load of the busiest over the mean, mean over the
            layers) and `idle_experts` (their share), once a step.
    """

    def __init__(self, learner: nn.Module, bias_step: float, averages: Averages) -> None:
        self._learner = learner
        self._bias_step = bias_step
        self._averages = averages
        self._step: torch.Tensor | None = None
        self._logged: torch.Tensor | None = None

    def add(self, load: torch.Tensor) -> None:
        """Add the load of one pass, `[layers, e]`."""
        self._step = load if self._step is None else self._step + load

    def end_step(self) -> None:
        """Move the correction biases against the load of the step, of all passes and processes."""
        if self._step is None:
            return
        load, self._step = total(self._step), None
        self._logged = load if self._logged is None else self._logged + load
        relative = load / load.mean(dim=-1, keepdim=True).clamp(min=1e-9)
        # Every process has the same numbers here, so their mean over processes is the same too.
        self._averages.add("busiest_expert", relative.amax(dim=-1).mean())
        self._averages.add("idle_experts", (relative < _IDLE).float().mean())
        if self._bias_step:
            correct: Any = self._learner.correct_router_biases
            correct(load, self._bias_step)

    def write(self, folder: Path, step: int) -> None:
        """Append the load since the last time, in shares of a layer's tokens, to the run's file."""
        if self._logged is None:
            return
        shares = self._logged / self._logged.sum(dim=-1, keepdim=True).clamp(min=1)
        self._logged = None
        line = {"step": step, "load": [[round(x, 5) for x in row] for row in shares.tolist()]}
        with (folder / EXPERTS_NAME).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def forget(self) -> None:
        """Begin the next sum without writing this one: another process writes it."""
        self._logged = None
