"""What the machine can do at best: reading memory and multiplying matrices.

Both are measured with torch's own kernels on all of its threads, the best of a few tries, for a
ceiling is what is reached when nothing disturbs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch

from vl2.ops.kernels.library import huge_pages

_TRIES = 5
_READ_BYTES = 2**29
_SIDE = 2048


@dataclass(frozen=True, slots=True)
class Machine:
    """Measured ceilings.

    Attributes:
        threads: threads of torch.
        read_bytes: bytes a second that can be read from memory.
        operations: multiplications and additions a second of a large matrix product, by the type
            of its numbers: `float32`, `bfloat16` and, on the CPU, `int8`.
    """

    threads: int
    read_bytes: float
    operations: Mapping[str, float]

    def as_dict(self) -> dict[str, object]:
        """The ceilings as JSON shows them."""
        return asdict(self)


def measure_machine(
    device: torch.device, read_bytes: int = _READ_BYTES, side: int = _SIDE
) -> Machine:
    """Measures the ceilings of a device.

    Args:
        device: where.
        read_bytes: memory to read; far more than the caches hold.
        side: of the square matrices.
    """
    return Machine(
        torch.get_num_threads(),
        _read(device, read_bytes),
        {name: 2 * side**3 / _best(run, device) for name, run in _products(device, side).items()},
    )


def _read(device: torch.device, size: int) -> float:
    numbers = torch.empty(size // 4, device=device)
    huge_pages(numbers, now=False)  # as the weights lie
    numbers.fill_(1.0)
    return size / _best(numbers.sum, device)


def _products(device: torch.device, side: int) -> dict[str, Callable[[], object]]:
    products: dict[str, Callable[[], object]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.ones(side, side, dtype=dtype, device=device)
        products[str(dtype).removeprefix("torch.")] = lambda x=x: x @ x
    if device.type == "cpu":
        whole = torch.ones(side, side, dtype=torch.int8)
        products["int8"] = lambda: torch._int_mm(whole, whole)
    return products


def _best(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of some runs."""
    seconds = []
    for _ in range(_TRIES):
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)
