"""How fast each kernel for packed weights is here, with every instruction set.

    python benchmarks/kernel_speed.py
    OMP_NUM_THREADS=1 python benchmarks/kernel_speed.py --seconds 2

Weights are read from a pool far larger than the caches, as in a model. For one token the speed is
that of reading weights (GB/s), for many that of arithmetic (operations a second). The best and the
median of the runs are printed: if they lie far apart, the machine was not quiet.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch

from vl2.ops.groupwise import Scheme
from vl2.ops.kernels import products
from vl2.ops.kernels.library import INSTRUCTION_SETS, library, select
from vl2.ops.kernels.products import Experts, Weight

SCHEMES = (Scheme(16), Scheme(8), Scheme(4, 32))
WIDTH, INNER, EXPERTS, CHOSEN = 1280, 896, 64, 6
POOL_BYTES = 2**28

Clock = Callable[[], float]


def main() -> int:
    """Prints a line for each kernel; returns 1 where there are none."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.5, help="for each line")
    parser.add_argument("--tokens", type=int, nargs="+", default=(1, 8, 56, 600))
    parser.add_argument("--sets", nargs="+", default=INSTRUCTION_SETS, help="instruction sets")
    parser.add_argument(
        "--cpu-time", action="store_true", help="of one thread, where other programs run too"
    )
    options = parser.parse_args()
    clock = time.thread_time if options.cpu_time else time.perf_counter
    loaded = library()
    if loaded is None:
        sys.stderr.write("There are no compiled kernels: run python -m vl2.ops.kernels.build\n")
        return 1
    for name in options.sets:
        if loaded.vl2_select(name.encode()).decode() != name:
            continue
        for scheme in SCHEMES:
            for tokens in options.tokens:
                _linear(loaded, name, scheme, tokens, options.seconds, clock)
                _experts(loaded, name, scheme, tokens, options.seconds, clock)
    select(loaded)
    return 0


def _linear(
    loaded: object, name: str, scheme: Scheme, tokens: int, seconds: float, clock: Clock
) -> None:
    count = max(1, POOL_BYTES // (2 * INNER * WIDTH))
    pool = [_weight((), 2 * INNER, WIDTH, scheme) for _ in range(count)]
    x = torch.randn(tokens, WIDTH, dtype=torch.bfloat16)
    times = _times(lambda i: products.linear(loaded, x, pool[i % count]), seconds, clock)
    _tell("linear", name, scheme, tokens, times, 2 * INNER * WIDTH, 2 * INNER * WIDTH * tokens)


def _experts(
    loaded: object, name: str, scheme: Scheme, tokens: int, seconds: float, clock: Clock
) -> None:
    routed = (
        _weight((EXPERTS,), 2 * INNER, WIDTH, scheme),
        _weight((EXPERTS,), WIDTH, INNER, scheme),
    )
    shared = tuple(_weight((), *shape, scheme) for shape in _shared())
    layer = Experts.of(routed, INNER, shared)
    x, factors = torch.randn(tokens, WIDTH, dtype=torch.bfloat16), torch.rand(tokens, CHOSEN)
    chosen = [torch.rand(tokens, EXPERTS).topk(CHOSEN).indices for _ in range(50)]
    times = _times(
        lambda i: products.experts(loaded, x, chosen[i % 50], factors, layer), seconds, clock
    )
    one = 3 * INNER * WIDTH
    met = min(EXPERTS, CHOSEN * tokens) + 2  # about: some experts may get no token
    _tell("experts", name, scheme, tokens, times, met * one, (CHOSEN + 2) * one * tokens)


def _shared() -> tuple[tuple[int, int], ...]:
    return ((2 * INNER, WIDTH), (2 * INNER, WIDTH), (WIDTH, 2 * INNER))


def _weight(outer: tuple[int, ...], n: int, k: int, scheme: Scheme) -> Weight:
    codes, scales = scheme.shapes(n, k)
    if scheme.bits == 16:
        values = torch.randn(*outer, codes[0], codes[1] // 2).to(torch.bfloat16)
        stored = values.view(torch.uint8)
    else:
        stored = torch.randint(1, 255, (*outer, *codes), dtype=torch.uint8)
    return Weight.of(
        stored,
        torch.rand(*outer, *scales).to(torch.bfloat16),
        scheme,
        n,
    )


def _times(run: Callable[[int], object], seconds: float, clock: Clock) -> list[float]:
    for index in range(3):
        run(index)
    times: list[float] = []
    while sum(times) < seconds:
        started = clock()
        run(len(times))
        times.append(clock() - started)
    return times


def _tell(
    kernel: str,
    name: str,
    scheme: Scheme,
    tokens: int,
    times: list[float],
    weights: int,
    products_: int,
) -> None:
    scales = 0 if scheme.bits == 16 else 2 / scheme.group
    size = weights * (scheme.bits / 8 + scales)
    best, usual = min(times), statistics.median(times)
    sys.stdout.write(
        f"{kernel:<8} {name:<12} {scheme.bits:>2} bits {tokens:>4} tokens: "
        f"best {best * 1e6:>8.0f} us, median {usual * 1e6:>8.0f} us; "
        f"at best {size / best / 1e9:>5.1f} GB/s and {2 * products_ / best / 1e9:>6.0f} GOP/s\n"
    )


if __name__ == "__main__":
    sys.exit(main())
