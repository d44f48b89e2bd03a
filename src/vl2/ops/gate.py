"""The gated activation of the MLPs, `act(gate) * up`, and how it stays finite in float16.

Activations of the DeepSeek-V2 family pass 65504, the largest float16 number: the product itself,
and even more the sums that `down_proj` makes of it. So in float16 the product is formed in float32
and stored divided by 64; `down_proj` is linear, so its result is multiplied by 64 again, in float32
(`restored`). A power of two costs no precision, apart from products below 0.004, whose absolute
error stays under 4e-6.
"""

from collections.abc import Callable

import torch

_DIVISOR = 64.0


def gated(
    gate: torch.Tensor, up: torch.Tensor, act: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """`act(gate) * up` `[..., i]`; in float16 divided by 64."""
    if gate.dtype != torch.float16:
        return act(gate) * up
    product = act(gate.to(torch.float32)) * up.to(torch.float32)
    return (product / _DIVISOR).to(torch.float16)


def restored(x: torch.Tensor, computed_in: torch.dtype) -> torch.Tensor:
    """Undoes the division of `gated` after the linear map; float32 if it was done in float16."""
    return x.to(torch.float32) * _DIVISOR if computed_in == torch.float16 else x


def product_type(x: torch.Tensor) -> torch.dtype:
    """The type in which a linear map of `x` computes: that of autocast if it is on, else of `x`."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype
