"""Means of what a run measures, over passes and processes."""

from __future__ import annotations

import torch

from vl2.train.ranks import everyones


class Averages:
    """Collects named values and gives their means since they were last asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, list[torch.Tensor]] = {}

    def add(self, name: str, value: torch.Tensor, count: torch.Tensor | float = 1.0) -> None:
        """Add the sum `value` of `count` values; nothing is read back from the device yet."""
        pair = torch.stack([value.detach().float(), torch.as_tensor(count).to(value).float()])
        self._sums.setdefault(name, []).append(pair)

    def take(self) -> dict[str, float]:
        """The mean of each name over all processes, and start anew."""
        here = {name: torch.stack(pairs).sum(dim=0).tolist() for name, pairs in self._sums.items()}
        self._sums.clear()
        everywhere = everyones(here)
        names = dict.fromkeys(name for found in everywhere for name in found)
        means = {}
        for name in names:
            pairs = [found[name] for found in everywhere if name in found]
            count = sum(pair[1] for pair in pairs)
            if count:
                means[name] = sum(pair[0] for pair in pairs) / count
        return means
