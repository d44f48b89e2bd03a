"""From logits to the next token."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from vl2.engine.sampling import Sampling


class Sampler:
    """Chooses tokens one after another as a `Sampling` says.

    Everything is computed in float32 on the CPU, so that a seed gives the same answer on every
    device whose logits agree.

    Args:
        sampling: how to choose.
        never: token ids that are never chosen.
    """

    def __init__(self, sampling: Sampling, never: Iterable[int] = ()) -> None:
        self._sampling = sampling
        self._never = torch.tensor(sorted(set(never)), dtype=torch.long)
        self._random = torch.Generator()
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)

    def choose(self, logits: torch.Tensor) -> int:
        """Choose a token.

        Args:
            logits: `[v]`, any type, on any device.
        """
        scores = logits.detach().to("cpu", torch.float32, copy=True)
        scores[self._never] = -torch.inf
        if self._sampling.temperature == 0:
            return int(scores.argmax())
        # The largest score is taken off first, so that a tiny temperature cannot overflow.
        scores = (scores - scores.max()) / self._sampling.temperature
        probabilities = scores.softmax(-1)
        if self._sampling.top_p < 1:
            probabilities = _nucleus(probabilities, self._sampling.top_p)
        return int(torch.multinomial(probabilities, 1, generator=self._random))


def _nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Keep the fewest likeliest tokens that together reach `top_p`; never none."""
    ordered, index = probabilities.sort(descending=True)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(probabilities).scatter(-1, index, ordered.where(before < top_p, 0))
