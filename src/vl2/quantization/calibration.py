"""What an error in each column of a weight costs: the mean square of what it is multiplied by.

The output of a linear map changes by the sum over columns of error times input; with inputs that
are independent, its expected square is the sum of squared errors, each times the mean square of its
input. So scales are chosen better where the inputs are known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from vl2.model.layers import DeepseekVLV2Experts
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.quantization.plan import part_of

_PREFIXES = (
    ("model.language_model.", "language.model."),
    ("lm_head", "language.lm_head"),
    ("model.vision_tower.", "vision."),
    ("model.projector.", "projector."),
)


class _Sums:
    """Sums of squares and how many rows went into them, by the name of the module on disk."""

    def __init__(self) -> None:
        self._squares: dict[str, torch.Tensor] = {}
        self._rows: dict[str, int] = {}

    def add(self, name: str, rows: torch.Tensor) -> None:
        """Takes rows `[.., k]` that went into a module."""
        flat = rows.detach().flatten(0, -2).to(torch.float32)
        squares = flat.square().sum(dim=0)
        self._squares[name] = self._squares[name] + squares if name in self._squares else squares
        self._rows[name] = self._rows.get(name, 0) + len(flat)

    def means(self) -> dict[str, torch.Tensor]:
        """Mean squares `[k]`, with a little of their average added: no column is worth nothing."""
        means = {name: total / self._rows[name] for name, total in self._squares.items()}
        return {name: mean + 0.01 * mean.mean() for name, mean in means.items()}


@torch.inference_mode()
def measure_importance(
    model: DeepseekVLV2ForCausalLM, batches: Iterable[Mapping[str, Any]], answer_tokens: int = 0
) -> dict[str, torch.Tensor]:
    """Runs a model on examples and measures what goes into its linear maps.

    Args:
        model: not quantised.
        batches: what its forward takes, e.g. from the processor's `collate`.
        answer_tokens: length of the answers that the model writes to each of them.

    Returns:
        Per module, by its name on disk, the mean square of each input `[k]`. An expert that no
        token visited is absent, and its columns count alike.
    """
    sums = _Sums()
    with _watched(model, sums):
        for batch in batches:
            if answer_tokens:
                model.generate(**batch, max_new_tokens=answer_tokens, do_sample=False)
            else:
                model(**batch)
    return sums.means()


@contextmanager
def _watched(model: nn.Module, sums: _Sums) -> Iterator[None]:
    handles = []
    for name, module in model.named_modules():
        if part_of(name) is None:
            continue
        hook = _expert_hook if isinstance(module, DeepseekVLV2Experts) else _linear_hook
        handles.append(module.register_forward_pre_hook(hook(_on_disk(name), sums)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _on_disk(name: str) -> str:
    prefix, official = next(pair for pair in _PREFIXES if name.startswith(pair[0]))
    return official + name.removeprefix(prefix)


_Hook = Callable[[nn.Module, tuple[torch.Tensor, ...]], None]


def _linear_hook(name: str, sums: _Sums) -> _Hook:
    def see(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        sums.add(name, inputs[0])

    return see


def _expert_hook(name: str, sums: _Sums) -> _Hook:
    def see(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(module, DeepseekVLV2Experts)
        x, indices = inputs[:2]
        for expert in indices.unique().tolist():
            rows = x[(indices == expert).any(dim=-1)]
            hidden = module._apply_gate(F.linear(rows, module.gate_up_proj[expert]))
            for part in ("gate_proj", "up_proj"):
                sums.add(f"{name}.{expert}.{part}", rows)
            sums.add(f"{name}.{expert}.down_proj", hidden)

    return see
