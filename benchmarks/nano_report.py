"""What is known of vl2-nano, drawn and tabled: how it was trained, what it scores after each stage.

    python benchmarks/nano_report.py

It reads the joined log of the runs that made the weights (docs/nano/log.jsonl) and the newest
scores of each measurement (benchmarks/results/nano_*_DATE.json), draws docs/nano/*.png, and prints
the tables of the model card.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

HOUSE = Path(__file__).resolve().parents[1]
RESULTS = HOUSE / "benchmarks" / "results"
DRAWN = HOUSE / "docs" / "nano"

STAGES = {
    "look": ("look", 147_200),
    "ordinary": ("ordinary pictures", 252_800),
    "everything": ("everything", 336_000),
    "synth": ("more of it", 417_920),
}
"""After which stages there are scores, by their name in the files: what the stage is called, and
how many pictures the language model had seen by its end."""

AIMS = {
    "colour": 97,
    "shape": 97,
    "relation": 97,
    "counting": 92,
    "word": 90,
    "receipt": 80,
    "cell": 80,
    "chart_value": 75,
    "locate_one": 88,
    "locate_several": 88,
    "locate_absent": 95,
    "in_context": 70,
}
"""Aims, per cent. Lines have one of their own: at most 10 % of characters wrong."""

CURVES = (
    ("answer_loss", "loss of answers"),
    ("characters_right", "characters right in their places"),
    ("edge_error", "edges of boxes wrong by"),
)
SHOWN = ("colour", "counting", "word", "number", "locate_one", "locate_absent", "position")


def scores(name: str, results: Path = RESULTS) -> dict[str, dict]:
    """The newest scores of a measurement, by task; none if it was never made."""
    files = sorted(results.glob(f"nano_{name}_????-??-??.json"))
    return json.loads(files[-1].read_text("utf-8"))["scores"] if files else {}


def accuracy(measured: dict[str, dict], task: str) -> str:
    """A cell of a table."""
    return f"{100 * measured[task]['accuracy']:.1f}" if task in measured else ""


def main_table(measured: dict[str, dict]) -> list[str]:
    """Each task with its interval, its aim and whether it was reached."""
    lines = ["| task | right, % | 95 % interval | aim | |", "|---|---|---|---|---|"]
    for task, score in measured.items():
        aim = AIMS.get(task)
        reached = "" if aim is None else "reached" if 100 * score["accuracy"] >= aim else "missed"
        interval = f"{100 * score['low']:.1f} to {100 * score['high']:.1f}"
        said = accuracy(measured, task)
        if score["character_error"] is not None:
            said += f" ({100 * score['character_error']:.0f} % of characters wrong)"
        lines.append(
            f"| {task.replace('_', ' ')} | {said} | {interval} | {aim or ''} | {reached} |"
        )
    return lines


def beside(names: Sequence[str], heads: Sequence[str], tasks: Sequence[str]) -> list[str]:
    """Several measurements of the same tasks, one column each."""
    columns = [scores(name) for name in names]
    lines = ["| task | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for task in tasks:
        cells = " | ".join(accuracy(column, task) for column in columns)
        lines.append(f"| {task.replace('_', ' ')} | {cells} |")
    return lines


def draw_training(log: Path, picture: Path) -> None:
    """The curves of all runs, one after the other, over the pictures that had been seen."""
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    stages = list(dict.fromkeys(row["stage"] for row in rows if row["stage"] != "encoder"))
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    for axis, (name, title) in zip(figure.subplots(1, len(CURVES)), CURVES, strict=True):
        for stage in stages:
            points = [
                (row["pictures"] / 1000, row[name])
                for row in rows
                if row["stage"] == stage and name in row
            ]
            if points:
                axis.plot(*zip(*points, strict=True), linewidth=1.2, label=stage)
        axis.set_title(title, fontsize=11)
        axis.set_xlabel("pictures, thousands")
        axis.grid(alpha=0.3)
    axis.legend(fontsize=9)
    figure.savefig(picture, dpi=90)


def draw_scores(picture: Path) -> None:
    """What more training bought: the share of right answers over the pictures seen."""
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axis = figure.subplots()
    for task in SHOWN:
        points = [
            (pictures / 1000, 100 * measured[task]["accuracy"])
            for stage, (_, pictures) in STAGES.items()
            if task in (measured := scores(stage))
        ]
        axis.plot(*zip(*points, strict=True), marker="o", label=task.replace("_", " "))
    axis.set_xlabel("pictures that the language model had seen, thousands")
    axis.set_ylabel("right answers, %")
    axis.set_ylim(0, 100)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9, ncols=2)
    figure.savefig(picture, dpi=100)


def draw_balance(logs: dict[str, Path], picture: Path) -> None:
    """How evenly experts are used with balancing and without, over the steps."""
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axis = figure.subplots()
    for name, log in logs.items():
        rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
        axis.plot(
            [row["step"] for row in rows], [row["busiest_expert"] for row in rows], label=name
        )
    axis.set_xlabel("step")
    axis.set_ylabel("busiest expert, in mean loads")
    axis.set_ylim(bottom=1)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9)
    figure.savefig(picture, dpi=100)


def main() -> None:
    """Draw everything and print the tables."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    final = scores("synth")
    draw_training(DRAWN / "log.jsonl", DRAWN / "training.png")
    draw_scores(DRAWN / "scores.png")
    balance = {
        "balanced": DRAWN / "balanced.jsonl",
        "neither loss nor bias": DRAWN / "unbalanced.jsonl",
    }
    draw_balance(balance, DRAWN / "balance.png")
    tables = [
        main_table(final),
        beside(tuple(STAGES), [head for head, _ in STAGES.values()], tuple(scores("everything"))),
        beside(("synth", "one_tile"), ("all tiles", "one tile"), tuple(scores("one_tile"))),
        beside(
            ("synth", "bfloat16", "int8"),
            ("float32", "bfloat16", "int8"),
            tuple(scores("int8")),
        ),
    ]
    sys.stdout.write("\n\n".join("\n".join(table) for table in tables) + "\n")


if __name__ == "__main__":
    main()
