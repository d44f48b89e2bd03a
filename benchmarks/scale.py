"""Pages a second of `vl2 read`: one process, several, and workers of a Ray cluster.

    python benchmarks/scale.py --pages 48 --rounds 2 [--ray ADDRESS] --out NAME.json

Each way reads the same pages, pictures of one page each, in a fresh folder, with the embedded
model; the ways take turns. Rounds are added to those that the file holds. Two speeds are told.
`whole` counts everything from the start of the command to its end, the start of Python and the
loading of the model too. `steady` counts from the first page that is written to the last one (by
the times of their files), without the pages that are begun with the first. Loading costs once, so
`steady` is what a long run is planned with.

The cluster must have two nodes of one processor each (`tests/ray_cluster.py` starts one).
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image

PICTURES = Path(__file__).resolve().parents[1] / "src" / "vl2" / "assets" / "pictures"
NAMES = ("receipt.png", "table.png", "sign.png", "chart.png")
TOKENS = 32
PARALLEL = 4


@dataclass(frozen=True)
class Way:
    """How pages are read.

    Attributes:
        name: what it is called.
        workers: that read at once.
        threads: of each.
        ray: whether a cluster reads.
    """

    name: str
    workers: int
    threads: int
    ray: bool = False

    def options(self, address: str | None) -> list[str]:
        """Its words on the command line."""
        words = ["--ray", str(address)] if self.ray else []
        return [*words, "--workers", str(self.workers)]


WAYS = (
    Way("one process, 1 thread", 1, 1),
    Way("one process, 2 threads", 1, 2),
    Way("2 workers, 1 thread each", 2, 1),
    Way("Ray, 1 worker, 1 thread", 1, 1, ray=True),
    Way("Ray, 2 workers, 1 thread each", 2, 1, ray=True),
)


def draw(folder: Path, count: int) -> None:
    """Pages that differ in a pixel, so that none is known from another."""
    pictures = [Image.open(PICTURES / name).convert("RGB") for name in NAMES]
    for number in range(count):
        page = pictures[number % len(pictures)].copy()
        page.putpixel((0, 0), (number % 256, number // 256, 0))
        page.save(folder / f"{number:05d}.png")


def steady(times: list[float], begun: int) -> float:
    """Pages a second between files: those begun together at the start are left out.

    Args:
        times: when each page was written.
        begun: pages that are read at once.
    """
    ordered = sorted(times)
    return (len(ordered) - begun) / (ordered[-1] - ordered[begun - 1])


def measure(way: Way, folder: Path, address: str | None) -> dict[str, float]:
    """Read the folder in one way; returns its speeds and the bytes that a page's results take."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "vl2", "read", str(folder), "-o", out, "--quiet"]
        asked = ["--ask", "Read the text.", "--max-tokens", str(TOKENS)]
        more = ["--parallel", str(PARALLEL), "--no-report", *way.options(address)]
        started = time.monotonic()
        subprocess.run(
            [*command, *asked, *more],
            env={**os.environ, "OMP_NUM_THREADS": str(way.threads)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        seconds = time.monotonic() - started
        results = list(Path(out, "documents").glob("*/result.json"))
        times = [path.stat().st_mtime for path in results]
        size = sum(path.stat().st_size for path in Path(out).rglob("*") if path.is_file())
    return {
        "whole": len(results) / seconds,
        "steady": steady(times, PARALLEL * way.workers),
        "bytes": size / len(results),
    }


def main() -> int:
    """Measure; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pages", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ray", metavar="ADDRESS", help="of a cluster, if one is measured")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    ways = [way for way in WAYS if given.ray or not way.ray]
    rounds = json.loads(given.out.read_text())["rounds"] if given.out.exists() else []
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), given.pages)
        for _ in range(given.rounds):
            rounds.append({way.name: measure(way, Path(folder), given.ray) for way in ways})
            given.out.write_text(json.dumps(record(ways, given.pages, rounds), indent=1) + "\n")
    for row in record(ways, given.pages, rounds)["ways"]:
        sys.stdout.write(f"{row['name']:32}{row['steady']:8.2f} steady{row['whole']:8.2f} whole\n")
    return 0


def record(ways: list[Way], pages: int, rounds: list[dict[str, dict[str, float]]]) -> dict:
    """What is kept: of each way the median of the rounds, and every round."""
    rows = [
        {
            **asdict(way),
            **{
                key: round(statistics.median(done[way.name][key] for done in rounds), 3)
                for key in ("steady", "whole", "bytes")
            },
        }
        for way in ways
    ]
    return {
        "date": dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "model": "nano",
        "pages": pages,
        "tokens": TOKENS,
        "parallel": PARALLEL,
        "ways": rows,
        "rounds": rounds,
    }


if __name__ == "__main__":
    sys.exit(main())
