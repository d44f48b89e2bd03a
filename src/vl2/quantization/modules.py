"""Modules that compute with quantised weights, in the places of those of `vl2.model`.

On the CPU in float32 or bfloat16 the compiled kernels run, where they are there; elsewhere the
weights are restored for each product. For inference: weights have no gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.activations import SiLUActivation

from vl2.model.layers import DeepseekVLV2Experts, DeepseekVLV2MLP, DeepseekVLV2MoE
from vl2.model.vision import DeepseekVLV2VisionMLP
from vl2.ops.experts import mixed_by_expert
from vl2.ops.gate import gated
from vl2.ops.groupwise import ROWS, Scheme, dequantise, quantise, quantised_linear
from vl2.ops.kernels import products
from vl2.ops.kernels.library import TYPES, library
from vl2.ops.kernels.products import Experts, Weight

_PIECE = 1024
"""Patches whose wide activations exist at a time: a tile's or two, not those of all tiles."""


def kernels_for(x: torch.Tensor) -> Any:  # noqa: ANN401 - a ctypes library
    """The compiled kernels if they can compute with `x`, else None."""
    if x.device.type != "cpu" or x.dtype not in TYPES:
        return None
    if x.requires_grad and torch.is_grad_enabled():
        return None
    return library()


class _Quantised(nn.Module):
    """What the modules share: scales that stay bfloat16, and a description for the kernels.

    Subclasses list the names of their weights; `NAME_scale` goes with each.
    """

    weights: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, Weight] = {}
        self._layer: Experts | None = None
        self._bias: tuple[nn.Parameter, torch.Tensor] | None = None

    def _declare(
        self, name: str, scheme: Scheme, shape: tuple[int, ...], quantised: bool, parts: int = 1
    ) -> None:
        *outer, n, k = shape
        # Merged parts are filled up to whole blocks each for itself.
        codes, scales = scheme.shapes(parts * ROWS * scheme.blocks(n // parts), k)
        # What is quantised while it is loaded comes in its own shape and type.
        stored = torch.empty(*outer, *codes, dtype=torch.uint8) if quantised else torch.empty(shape)
        scale = torch.empty(*outer, *scales, dtype=torch.bfloat16)
        setattr(self, name, nn.Parameter(stored, requires_grad=False))
        setattr(self, f"{name}_scale", nn.Parameter(scale, requires_grad=False))

    def _apply(
        self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True
    ) -> _Quantised:
        exact = {name: getattr(self, f"{name}_scale") for name in self.weights}
        values = {name: scale.data for name, scale in exact.items()}
        super()._apply(fn, recurse)
        for name, value in values.items():
            moved = getattr(self, f"{name}_scale")
            if moved.dtype != torch.bfloat16:
                place = value.to(moved.device)
                setattr(self, f"{name}_scale", nn.Parameter(place, requires_grad=False))
        self.forget()
        return self

    def forget(self) -> None:
        """Drops what the kernels were told about the weights."""
        self._seen, self._layer, self._bias = {}, None, None

    def described(self, name: str, scheme: Scheme, rows: int) -> Weight:
        """A weight as the kernels see it."""
        codes, seen = getattr(self, name), self._seen.get(name)
        if seen is None or seen.packed.codes != codes.data_ptr():
            scales = getattr(self, f"{name}_scale")
            self._layer = None
            seen = Weight.of(codes.data.contiguous(), scales.data.contiguous(), scheme, rows)
            self._seen[name] = seen
        return seen

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_seen": {}, "_layer": None, "_bias": None}


class QuantisedLinear(_Quantised):
    """`nn.Linear` with a quantised weight.

    Args:
        inputs: width of the input.
        outputs: width of the output.
        scheme: how the weight is stored.
        bias: whether there is one; it is not quantised.
        quantised: false if the weight will be quantised while it is loaded.
    """

    weights = ("weight",)
    weight: nn.Parameter
    weight_scale: nn.Parameter

    def __init__(
        self, inputs: int, outputs: int, scheme: Scheme, *, bias: bool, quantised: bool = True
    ) -> None:
        super().__init__()
        self.in_features, self.out_features, self.scheme = inputs, outputs, scheme
        self._declare("weight", scheme, (outputs, inputs), quantised)
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[.., k]` to `[.., n]`."""
        kernels = kernels_for(x)
        if kernels is not None:
            return products.linear(kernels, x, self.seen, self.exact_bias)
        y = quantised_linear(x, self.weight, self.weight_scale, self.scheme, self.out_features)
        return y if self.bias is None else y + self.bias

    @property
    def exact_bias(self) -> torch.Tensor | None:
        """The bias in float32, as the kernels take it."""
        if self.bias is None:
            return None
        if self._bias is None or self._bias[0] is not self.bias:
            self._bias = self.bias, self.bias.data.to(torch.float32)
        return self._bias[1]

    @property
    def seen(self) -> Weight:
        """The weight as the kernels see it."""
        return self.described("weight", self.scheme, self.out_features)

    def quantised(
        self, name: str, weight: torch.Tensor, importance: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Codes and scales of a weight `[n, k]`, by the names of the parameters."""
        codes, scales = quantise(weight, self.scheme, importance)
        return {name: codes, f"{name}_scale": scales}

    def restored(self, dtype: torch.dtype) -> torch.Tensor:
        """The weight `[n, k]`."""
        return dequantise(
            self.weight, self.weight_scale, self.scheme, self.out_features, self.in_features, dtype
        )


class QuantisedMLP(nn.Module):
    """A gated MLP of quantised maps, in one call of the kernels.

    Args:
        mlp: the MLP whose place it takes, its maps quantised.
    """

    _apart = DeepseekVLV2MLP.forward
    gate_proj: QuantisedLinear
    up_proj: QuantisedLinear
    down_proj: QuantisedLinear

    def __init__(self, mlp: DeepseekVLV2MLP) -> None:
        super().__init__()
        for name in ("gate_proj", "up_proj", "down_proj"):
            setattr(self, name, getattr(mlp, name))
        self.act_fn = mlp.act_fn
        self._layer: tuple[tuple[Weight, ...], Experts] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[.., d]` to `[.., d]`; in float16 the result is float32."""
        kernels = kernels_for(x)
        if kernels is None or not self.fuses:
            return self._apart(x)  # pyrefly: ignore[bad-argument-type] - it has the same parts
        tokens = x.flatten(0, -2)
        none = tokens.new_empty((len(tokens), 0))
        mixed = products.experts(kernels, tokens, none.long(), none, self.described())
        return mixed.view(x.shape)

    @property
    def fuses(self) -> bool:
        """Whether the kernels can compute all of it."""
        return _is_silu(self.act_fn)

    def parts(self) -> tuple[Weight, Weight, Weight]:
        """Gate, up and down as the kernels see them."""
        return self.gate_proj.seen, self.up_proj.seen, self.down_proj.seen

    def described(self) -> Experts:
        """The MLP as the kernels see it: shared experts without routed ones."""
        parts = self.parts()
        if self._layer is None or any(
            new is not old for new, old in zip(parts, self._layer[0], strict=True)
        ):
            self._layer = (parts, Experts.of(None, 0, parts))
        return self._layer[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_layer": None}


class QuantisedVisionMLP(nn.Module):
    """The MLP of the vision encoder, with its activation inside of the first product.

    Args:
        mlp: the MLP whose place it takes, its maps quantised.
    """

    _apart = DeepseekVLV2VisionMLP.forward
    fc1: QuantisedLinear
    fc2: QuantisedLinear

    def __init__(self, mlp: DeepseekVLV2VisionMLP) -> None:
        super().__init__()
        self.fc1, self.fc2 = mlp.fc1, mlp.fc2  # pyrefly: ignore[bad-assignment]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[..., c]` to `[..., c]`."""
        kernels = kernels_for(x)
        if kernels is None:
            return self._apart(x)  # pyrefly: ignore[bad-argument-type] - it has the same parts
        bias, rows = self.fc1.exact_bias, x.flatten(0, -2)
        out = torch.empty_like(rows)
        for piece, place in zip(rows.split(_PIECE), out.split(_PIECE), strict=True):
            wide = products.linear(kernels, piece, self.fc1.seen, bias, gelu=True)
            place.copy_(self.fc2(wide))
        return out.view(x.shape)


class QuantisedExperts(_Quantised):
    """The routed experts of a layer with quantised weights, in two tensors and their scales.

    Args:
        experts: those whose place they take.
        scheme: how the weights are stored.
        quantised: false if the weights will be quantised while they are loaded.
    """

    weights = ("gate_up_proj", "down_proj")
    gate_up_proj: nn.Parameter
    gate_up_proj_scale: nn.Parameter
    down_proj: nn.Parameter
    down_proj_scale: nn.Parameter

    def __init__(
        self, experts: DeepseekVLV2Experts, scheme: Scheme, *, quantised: bool = True
    ) -> None:
        super().__init__()
        self.num_experts, self.scheme, self.act_fn = experts.num_experts, scheme, experts.act_fn
        count, self.width, self.inner = experts.down_proj.shape
        merged = (count, 2 * self.inner, self.width)
        self._declare("gate_up_proj", scheme, merged, quantised, parts=2)
        self._declare("down_proj", scheme, (count, self.width, self.inner), quantised)

    def forward(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        """Maps tokens `[n, d]` to `[n, d]`; in float16 the result is divided (`vl2.ops.gate`)."""
        kernels = kernels_for(hidden_states)
        if kernels is not None and _is_silu(self.act_fn):
            layer = self.described_with(None)
            return products.experts(kernels, hidden_states, top_k_index, top_k_weights, layer)
        return mixed_by_expert(
            hidden_states, top_k_index, top_k_weights, self.num_experts, self._one
        )

    def described_with(self, shared: QuantisedMLP | None) -> Experts:
        """Routed and shared experts as the kernels see them."""
        gate_up = self.described("gate_up_proj", self.scheme, self.inner)
        down = self.described("down_proj", self.scheme, self.width)
        if self._layer is None:
            parts = None if shared is None else shared.parts()
            self._layer = Experts.of((gate_up, down), self.inner, parts)
        return self._layer

    def _one(self, expert: int, block: torch.Tensor) -> torch.Tensor:
        gate_up = zip(
            self.gate_up_proj[expert].chunk(2),
            self.gate_up_proj_scale[expert].chunk(2),
            strict=True,
        )
        gate, up = (quantised_linear(block, *half, self.scheme, self.inner) for half in gate_up)
        down = self.down_proj[expert], self.down_proj_scale[expert]
        return quantised_linear(gated(gate, up, self.act_fn), *down, self.scheme, self.width)

    def quantised(
        self, name: str, weight: torch.Tensor, importance: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Codes and scales of merged weights `[e, n, k]`, by the names of the parameters."""
        halves = weight.chunk(2, dim=1) if name == "gate_up_proj" else (weight,)
        parts = [quantise(half, self.scheme, importance) for half in halves]
        codes, scales = (torch.cat(tensors, dim=1) for tensors in zip(*parts, strict=True))
        return {name: codes, f"{name}_scale": scales}

    def restored(self, name: str, dtype: torch.dtype) -> torch.Tensor:
        """The merged weights `[e, n, k]` of a parameter."""
        codes, scales = getattr(self, name), getattr(self, f"{name}_scale")
        if name == "down_proj":
            return dequantise(codes, scales, self.scheme, self.width, self.inner, dtype)
        halves = zip(codes.chunk(2, dim=1), scales.chunk(2, dim=1), strict=True)
        restored = [
            dequantise(*half, self.scheme, self.inner, self.width, dtype) for half in halves
        ]
        return torch.cat(restored, dim=1)


class QuantisedMoE(nn.Module):
    """Routed and shared experts in one call of the kernels.

    Args:
        moe: the module whose place it takes, its experts quantised.
    """

    _apart = DeepseekVLV2MoE.forward
    experts: QuantisedExperts
    shared_experts: QuantisedMLP | None
    gate: nn.Module

    def __init__(self, moe: DeepseekVLV2MoE) -> None:
        super().__init__()
        for name in ("experts", "gate", "shared_experts"):
            setattr(self, name, getattr(moe, name))

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Maps `[b, t, d]` to `[b, t, d]`; in float16 the result is float32."""
        kernels = kernels_for(hidden_states)
        if kernels is None or not self.fuses:
            return self._apart(hidden_states)  # pyrefly: ignore[bad-argument-type]
        tokens = hidden_states.flatten(0, -2)
        _, weights, indices = self.gate(tokens)
        mixed = products.experts(kernels, tokens, indices, weights, self.described())
        return mixed.view(hidden_states.shape)

    def described(self) -> Experts:
        """Routed and shared experts as the kernels see them."""
        return self.experts.described_with(self.shared_experts)

    @property
    def fuses(self) -> bool:
        """Whether the kernels can compute all of it: activations of one kind, made ready once."""
        if not isinstance(self.shared_experts, QuantisedMLP):
            return self.shared_experts is None and _is_silu(self.experts.act_fn)
        maps = (self.shared_experts.gate_proj, self.shared_experts.down_proj)
        kinds = {part.scheme.bits == 16 for part in (self.experts, *maps)}
        return len(kinds) == 1 and _is_silu(self.experts.act_fn)


def describe(model: nn.Module) -> None:
    """Tells the kernels about all linear maps of a model on the CPU, before they are used.

    What they are told is small and stays. Made while the first picture is encoded it would lie
    between the activations of the layers, and glibc, which then finds no place twice, would take
    new memory for the activations of each layer: half a gigabyte, which it keeps.
    """
    for module in model.modules():
        if isinstance(module, QuantisedLinear) and module.weight.device.type == "cpu":
            _ = module.seen, module.exact_bias


def _is_silu(act_fn: Callable[[torch.Tensor], torch.Tensor]) -> bool:
    return isinstance(act_fn, (nn.SiLU, SiLUActivation))
