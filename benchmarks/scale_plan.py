"""What many pages take, computed from measured pages a second.

    python benchmarks/scale_plan.py benchmarks/results/scale_*.json [--pages 10000000]
    python benchmarks/scale_plan.py --speed 5.0 --pages 10000000   # of your own worker

Prints a table in Markdown. Nothing else is assumed than that more machines read in proportion,
which holds as long as the folder of results and the network keep up, and that nothing fails.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

PAGES = 10_000_000
DEADLINES = ((1, "a day"), (7, "a week"), (30, "30 days"))
_DAY = 86400


def table(rows: list[tuple[str, float]], pages: int) -> str:
    """Days of one machine, and machines that a deadline needs.

    Args:
        rows: a name and pages a second each.
        pages: to be read.
    """
    within = " | ".join(f"machines for {name}" for _, name in DEADLINES)
    lines = [
        f"| one machine reads with | pages a second | days for {pages:,} pages | {within} |",
        "|---" * (3 + len(DEADLINES)) + "|",
    ]
    for name, speed in rows:
        days = pages / speed / _DAY
        machines = " | ".join(f"{math.ceil(days / limit):,}" for limit, _ in DEADLINES)
        lines.append(f"| {name} | {speed:.2f} | {days:,.1f} | {machines} |")
    return "\n".join(lines)


def main() -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("result", nargs="?", type=Path, help="that scale.py wrote")
    parser.add_argument("--speed", type=float, help="pages a second, instead of a result")
    parser.add_argument("--pages", type=int, default=PAGES)
    given = parser.parse_args()
    if (given.result is None) == (given.speed is None):
        parser.error("give a result or --speed")
    if given.result is None:
        rows = [("your worker", given.speed)]
    else:
        measured = json.loads(given.result.read_text(encoding="utf-8"))
        rows = [(row["name"], row["steady"]) for row in measured["ways"]]
    sys.stdout.write(table(rows, given.pages) + "\n")
    if given.result is not None:
        size = max(row["bytes"] for row in measured["ways"]) * given.pages
        sys.stdout.write(f"\nResults of {given.pages:,} pages take {size / 1e9:,.0f} GB.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
