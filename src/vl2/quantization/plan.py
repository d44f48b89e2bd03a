"""Which weights are stored in how many bits.

The names of a model's linear maps fall into parts. A plan says how many bits each part gets; a part
that it does not name keeps the type of the checkpoint, and so does what belongs to no part: token
embeddings, the router, norms, the pooling head that is never run, and `kv_b_proj`, which latent
attention folds into queries and outputs instead of multiplying by it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from transformers import PreTrainedConfig
from transformers.utils.quantization_config import QuantizationConfigMixin

from vl2.errors import InputError
from vl2.model.configuration_keys import QUANTIZATION_METHOD
from vl2.ops.groupwise import Scheme

_PARTS = (
    ("experts", re.compile(r"layers\.\d+\.mlp\.experts(\.\d+\.(gate|up|down)_proj)?$")),
    ("shared", re.compile(r"layers\.\d+\.mlp\.shared_experts\.(gate|up|down)_proj$")),
    ("dense", re.compile(r"layers\.\d+\.mlp\.(gate|up|down)_proj$")),
    (
        "attention",
        re.compile(r"layers\.\d+\.self_attn\.([qkvo]_proj|q_[ab]_proj|kv_a_proj_with_mqa)$"),
    ),
    ("head", re.compile(r"(^|\.)lm_head$")),
    ("adaptor", re.compile(r"(^|\.)projector\.layers\.\d+$")),
    ("vision", re.compile(r"vision(_tower)?\.blocks\.\d+\.(attn\.(qkv|proj)|mlp\.fc[12])$")),
)
PARTS = tuple(name for name, _ in _PARTS)
"""Parts of the model that can be quantised."""

# The measurements behind them are in docs/decisions/0007-quantization.md.
SCHEMES: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "int8": MappingProxyType(dict.fromkeys(PARTS, 8)),
        "int4": MappingProxyType({**dict.fromkeys(PARTS, 4), "head": 8, "adaptor": 8, "vision": 8}),
    }
)
"""Bits of each part, by the name of the scheme."""

GROUPS: Mapping[str, int] = MappingProxyType({"int8": 64, "int4": 32})
"""Columns that share a scale, by the name of the scheme."""


def part_of(module: str) -> str | None:
    """The part that a module belongs to, None for none.

    Args:
        module: its name, as in memory or as in checkpoints, without `.weight`.
    """
    return next((part for part, pattern in _PARTS if pattern.search(module)), None)


class VL2QuantizationConfig(QuantizationConfigMixin):
    """The `quantization_config` of a checkpoint.

    Args:
        bits: bits of each part of the model; parts that are left out are kept as they are.
        group_size: columns that share a scale.

    Raises:
        InputError: an unknown part or an impossible number.
    """

    def __init__(
        self,
        bits: Mapping[str, int],
        group_size: int = 64,
        quant_method: str = QUANTIZATION_METHOD,
        **unknown: Any,  # noqa: ANN401 - JSON
    ) -> None:
        if unknown:
            raise InputError(f"Unknown key {min(unknown)!r} in quantization_config: remove it.")
        if not isinstance(bits, Mapping) or (strange := sorted(set(bits) - set(PARTS))):
            named = strange[0] if isinstance(bits, Mapping) else bits
            raise InputError(
                f"quantization_config: {named!r} is no part of the model; "
                f"use some of {', '.join(PARTS)}."
            )
        if type(group_size) is not int:
            raise InputError(f"quantization_config: group_size must be a number: {group_size!r}.")
        for count in bits.values():
            Scheme(count, group_size)
        self.quant_method = quant_method  # pyrefly: ignore[bad-assignment]
        self.bits = dict(bits)
        self.group_size = group_size

    @classmethod
    def named(cls, scheme: str, group_size: int | None = None) -> VL2QuantizationConfig:
        """The plan of a scheme.

        Args:
            scheme: `int8` or `int4`.
            group_size: columns that share a scale; None for as many as the scheme has.

        Raises:
            InputError: there is no such scheme, or no such group.
        """
        if scheme not in SCHEMES:
            raise InputError.unknown("scheme", scheme, SCHEMES)
        return cls(SCHEMES[scheme], GROUPS[scheme] if group_size is None else group_size)

    @classmethod
    def of(cls, config: PreTrainedConfig) -> VL2QuantizationConfig | None:
        """The plan that a checkpoint's configuration states; None if it is not quantised.

        Raises:
            InputError: an unknown part or an impossible number.
        """
        stated = getattr(config, "quantization_config", None)
        return cls(**stated) if isinstance(stated, dict) else stated

    def scheme(self, module: str) -> Scheme | None:
        """How the weight of a module is stored; None if it is kept as it is.

        Args:
            module: its name, as in memory or as in checkpoints, without `.weight`.
        """
        part = part_of(module)
        bits = None if part is None else self.bits.get(part)
        return None if bits is None else Scheme(bits, self.group_size)

    @property
    def name(self) -> str:
        """A short name: `int8`, `int4`, or `mixed` for a plan of one's own."""
        return next((name for name, bits in SCHEMES.items() if bits == self.bits), "mixed")


def plan_of(scheme: str | None, group_size: int | None = None) -> VL2QuantizationConfig | None:
    """The plan of a scheme that may be none.

    Args:
        scheme: `int8` or `int4`; None for weights as they are.
        group_size: columns that share a scale; None for as many as the scheme has.

    Raises:
        InputError: there is no such scheme, no such group, or a group without a scheme.
    """
    if scheme is not None:
        return VL2QuantizationConfig.named(scheme, group_size)
    if group_size is not None:
        raise InputError(
            f"Groups of {group_size} columns go with a scheme: say which one as well "
            "(quantize='int4' or 'int8'; --quantize int4 on the command line)."
        )
    return None
