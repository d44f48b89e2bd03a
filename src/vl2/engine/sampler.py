"""From scores to the next token of one answer."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vl2.engine.constraints import Constraint
from vl2.engine.sampling import Sampling
from vl2.errors import EngineError

_NUCLEUS_AT_FIRST = 256

# Smaller settings than this would be rounded to zero in float32.
_LEAST = 1e-30


class Sampler:
    """Chooses tokens one after another as a `Sampling` says.

    Everything is computed in float32 on the CPU and with a random generator of its own, so that a
    seed gives the same answer on every device whose scores agree, whoever shares the batch.

    Args:
        sampling: how to choose.
        prompt: token ids of the conversation, for the repetition penalty.
        constraint: what the answer must obey.
    """

    def __init__(
        self,
        sampling: Sampling,
        prompt: Sequence[int] = (),
        constraint: Constraint | None = None,
    ) -> None:
        self.sampling = sampling
        self.constraint = constraint
        self._random = torch.Generator()
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)
        self._bias_ids = torch.tensor(list(sampling.logit_bias), dtype=torch.long)
        self._biases = torch.tensor(list(sampling.logit_bias.values()), dtype=torch.float32)
        self._seen = sorted(set(prompt)) if sampling.repetition_penalty != 1 else []

    def choose(self, logits: torch.Tensor, answer: Sequence[int] = ()) -> int:
        """Choose a token.

        Args:
            logits: scores `[v]`, any type, on any device; minus infinity never comes.
            answer: the answer so far.

        Raises:
            EngineError: the settings leave no token to choose.
        """
        scores = logits.detach().to("cpu", torch.float32, copy=True)
        self._adjust(scores, answer)
        if self.constraint is not None:
            self.constraint.restrict(scores)
        if scores.max() == -torch.inf:
            raise EngineError(
                "The settings of this answer leave no token to choose: loosen the loop guard, the "
                "logit bias or the constraint."
            )
        token = self._draw(scores)
        if self.constraint is not None:
            self.constraint.accept(token)
        return token

    def _adjust(self, scores: torch.Tensor, answer: Sequence[int]) -> None:
        """Apply bias, penalties and the loop guard in place."""
        sampling = self.sampling
        scores.index_add_(0, self._bias_ids, self._biases)
        if sampling.repetition_penalty != 1:
            seen = torch.tensor(sorted({*self._seen, *answer}), dtype=torch.long)
            known, factor = scores[seen], sampling.repetition_penalty
            scores[seen] = torch.where(known > 0, known / factor, known * factor)
        if answer and (sampling.frequency_penalty or sampling.presence_penalty):
            ids, counts = torch.tensor(answer).unique(return_counts=True)
            scores[ids] -= sampling.frequency_penalty * counts + sampling.presence_penalty
        if sampling.no_repeat_ngram:
            scores[
                repeating(answer, sampling.no_repeat_ngram, sampling.no_repeat_window)
            ] = -torch.inf

    def _draw(self, scores: torch.Tensor) -> int:
        sampling = self.sampling
        if sampling.temperature == 0:
            return int(scores.argmax())
        # The largest score is taken off first, so that a tiny temperature cannot overflow.
        scores = (scores - scores.max()) / max(sampling.temperature, _LEAST)
        if 0 < sampling.top_k < scores.numel():
            kept, ids = scores.topk(sampling.top_k)
            scores = torch.full_like(scores, -torch.inf).scatter(-1, ids, kept)
        probabilities = scores.softmax(-1)
        if sampling.top_p < 1:
            probabilities = _nucleus(probabilities, max(sampling.top_p, _LEAST))
        if sampling.min_p > 0:
            probabilities[probabilities < sampling.min_p * probabilities.max()] = 0
        return int(torch.multinomial(probabilities, 1, generator=self._random))


def repeating(answer: Sequence[int], size: int, window: int) -> list[int]:
    """Tokens that would repeat a run of `size` tokens of the last `window` tokens (0: of all)."""
    begin = max(len(answer) - window, 0) if window else 0
    recent = list(answer[begin:])
    tail = recent[len(recent) - size + 1 :]
    if len(recent) < size:
        return []
    return [
        recent[i + size - 1]
        for i in range(len(recent) - size + 1)
        if recent[i : i + size - 1] == tail
    ]


def _nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Keep the fewest likeliest tokens that together reach `top_p`; never none."""
    count = min(_NUCLEUS_AT_FIRST, probabilities.numel())
    ordered, index = probabilities.topk(count)
    if ordered.sum() < top_p:  # a flat distribution: the whole of it must be sorted
        ordered, index = probabilities.sort(descending=True)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(probabilities).scatter(-1, index, ordered.where(before < top_p, 0))
