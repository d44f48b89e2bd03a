"""Writing safetensors files tensor by tensor, without holding them all.

The format: eight bytes with the length of a JSON header, the header (name -> type, shape, place),
then the tensors' bytes without gaps. The header is written first, so types and shapes must be known
before the tensors are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import torch

# In the spelling of the format, with the bytes of a number.
_TYPES = {
    torch.float32: ("F32", 4),
    torch.bfloat16: ("BF16", 2),
    torch.float16: ("F16", 2),
    torch.uint8: ("U8", 1),
}
SPELLED: Mapping[str, torch.dtype] = {name: dtype for dtype, (name, _) in _TYPES.items()}
"""torch's types by the format's names."""

_ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Spec:
    """Type and shape of a tensor."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Its bytes."""
        return math.prod(self.shape) * _TYPES[self.dtype][1]


class ShardWriter:
    """Writes one file. Tensors must come in the order, and with the types and shapes, announced.

    Leaving the `with` block without an error checks that all have come.

    Args:
        file: where to write.
        specs: what will be written, in order.
    """

    def __init__(self, file: Path, specs: Mapping[str, Spec]) -> None:
        self._waiting = list(specs.items())[::-1]
        self._stream = file.open("wb")
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        start = 0
        for name, spec in specs.items():
            end = start + spec.size
            spelled = _TYPES[spec.dtype][0]
            header[name] = {"dtype": spelled, "shape": spec.shape, "data_offsets": [start, end]}
            start = end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-(len(text) + 8) % _ALIGNMENT)
        self._stream.write(len(text).to_bytes(8, "little") + text)

    def write(self, name: str, tensor: torch.Tensor) -> None:
        """Appends a tensor."""
        expected, spec = self._waiting.pop()
        assert (name, tensor.dtype, tuple(tensor.shape)) == (expected, spec.dtype, spec.shape)
        raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        self._stream.write(raw.numpy().data)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()
        assert error is not None or not self._waiting, "tensors were announced and never written"
