"""Which released shapes load and answer here with random weights, and in how much memory.

    python benchmarks/reach.py                            # base with groups of 64 columns
    python benchmarks/reach.py --shapes tiny:int8 --out benchmarks/results/reach_NAME_DATE.json

Each shape is a process of its own (`vl2 bench SHAPE --random --quantize ... --json`); its largest
resident memory is read when it has ended. Leave the machine alone meanwhile: the same run gives the
shares of the machine's ceilings.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

SHAPES = ("tiny:int8", "tiny:int4", "small:int4", "base:int4:64")
LIMITS = {"tiny:int8": 5.0e9, "small:int4": 10.5e9, "base:int4": 16.5e9, "base:int4:64": 16.5e9}
"""Bytes that a shape may take at its peak."""


def main() -> int:
    """Runs the shapes one after the other; returns 1 if one failed or took too much."""
    options = _options()
    results = [_run(shape, options) for shape in options.shapes]
    if options.out:
        record = {
            "date": dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
            "machine": {"system": platform.platform(), "processors": os.cpu_count()},
            "shapes": results,
        }
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(any(not result["holds"] for result in results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=SHAPES, help="small:int4, base:int4:64")
    parser.add_argument("--prompt", type=int, default=600)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def _run(shape: str, options: argparse.Namespace) -> dict[str, object]:
    name, scheme, *group = shape.split(":")
    words = ["--random", "--quantize", scheme, "--device", "cpu", "--json"]
    words += ["--prompt", str(options.prompt), "--tokens", str(options.tokens)]
    words += ["--runs", str(options.runs)]
    words += ["--group-size", group[0]] if group else []
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen(
            [sys.executable, "-m", "vl2", "bench", name, *words], stdout=printed
        )
        _, status, used = os.wait4(process.pid, 0)
        printed.seek(0)
        text = printed.read()
    code = process.returncode = os.waitstatus_to_exitcode(status)
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    limit = LIMITS.get(shape)
    holds = code == 0 and (limit is None or peak < limit)
    result: dict[str, object] = {"shape": shape, "peak_bytes": peak, "limit": limit, "holds": holds}
    if code == 0:
        report = json.loads(text)
        result |= report
        sys.stdout.write(
            f"{shape}: peak {peak / 1e9:.2f} GB, prompt {report['prefill']['per_second']:.0f} and "
            f"answer {report['decode']['per_second']:.1f} tokens/s "
            f"({100 * report['decode']['share']:.0f} % of the memory's ceiling), "
            f"{report['tile']['seconds']:.2f} s a tile, page {report['page']['seconds']:.1f} s\n"
        )
    else:
        sys.stdout.write(f"{shape}: failed with {code}\n")
    sys.stdout.flush()
    return result


if __name__ == "__main__":
    sys.exit(main())
