"""What is known of vl2-nano, drawn and tabled: how it was trained, what it scores after each stage.

    python benchmarks/nano_report.py
    python benchmarks/nano_report.py --runs runs

It reads the joined log of the runs that made the weights (docs/nano/log.jsonl; `--runs` writes it
from the folder where `vl2 train nano` ran) and the newest scores of each measurement
(benchmarks/results/nano_*_DATE.json), draws docs/nano/*.png, and prints the tables of the model
card.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from vl2.train.recipe import load_recipe

HOUSE = Path(__file__).resolve().parents[1]
RESULTS = HOUSE / "benchmarks" / "results"
DRAWN = HOUSE / "docs" / "nano"

RUNS = {
    "nano-vision": "encoder",
    "nano-look": "look",
    "nano-near": "near",
    "nano-all": "everything",
    "nano": "more",
}
"""The runs that `vl2 train nano` goes through, and what their stages are called here."""

STAGES = ("look", "near", "everything", "more")
"""The stages that leave a model which answers, in their order."""

POINTS = {
    "look": ("look", 700),
    "near": ("near", 600),
    "third": ("everything", 350),
    "two_thirds": ("everything", 700),
    "everything": ("everything", 1050),
    "half": ("more", 800),
    "synth": ("more", 1700),
}
"""When scores were taken, by their name in the files: the stage and its step."""

KEPT = (
    "loss",
    "answer_loss",
    "characters_right",
    "edge_error",
    "shapes_named",
    "colours_named",
    "shapes_right",
    "colours_right",
    "busiest_expert",
    "learning_rate",
)
"""What of a run's log is kept."""

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
SHOWN = (
    "colour",
    "counting",
    "word",
    "number",
    "locate_one",
    "locate_absent",
    "position",
    "relation",
    "receipt",
    "cell",
)


def scores(name: str, results: Path = RESULTS) -> dict[str, dict]:
    """The newest scores of a measurement, by task; none if it was never made."""
    files = sorted(results.glob(f"nano_{name}_????-??-??.json"))
    return json.loads(files[-1].read_text("utf-8"))["scores"] if files else {}


def accuracy(measured: dict[str, dict], task: str) -> str:
    """A cell of a table."""
    return f"{100 * measured[task]['accuracy']:.1f}" if task in measured else ""


def wrong(measured: dict[str, dict], task: str) -> str:
    """What a cell adds for a task that reads: the share of characters that are wrong."""
    share = measured[task]["character_error"] if task in measured else None
    return "" if share is None else f" ({100 * share:.0f})"


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
    """Several measurements of the same tasks, one column each; in brackets wrong characters."""
    columns = [scores(name) for name in names]
    lines = ["| task | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for task in tasks:
        cells = " | ".join(accuracy(column, task) + wrong(column, task) for column in columns)
        lines.append(f"| {task.replace('_', ' ')} | {cells} |")
    return lines


def join_logs(runs: Path, log: Path) -> None:
    """Write the logs of all runs as one, with the pictures that had been rendered by each line."""
    lines, seen = [], 0
    for name, stage in RUNS.items():
        recipe = load_recipe(str(runs / name / "recipe.yaml"))
        rows = recipe.global_batch_size
        found = map(json.loads, (runs / name / "log.jsonl").read_text("utf-8").splitlines())
        # A run that was stopped and went on has some steps twice.
        by_step = {row["step"]: row for row in found if "loss" in row}
        for step, row in sorted(by_step.items()):
            kept = {key: float(f"{row[key]:.4g}") for key in KEPT if key in row}
            place = {"stage": stage, "step": step, "pictures": seen + step * rows}
            lines.append(json.dumps({**place, **kept}))
        seen += recipe.steps * rows
    log.write_text("\n".join(lines) + "\n", "utf-8")


def read_log(log: Path) -> list[dict]:
    """The lines of a log."""
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()]


def draw_training(log: Path, picture: Path) -> None:
    """The curves of all runs, one after the other, over the pictures that had been seen."""
    rows = read_log(log)
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    for axis, (name, title) in zip(figure.subplots(1, len(CURVES)), CURVES, strict=True):
        for number, stage in enumerate(stages):
            points = [
                (row["pictures"] / 1000, row[name])
                for row in rows
                if row["stage"] == stage and name in row
            ]
            if points:
                axis.plot(*zip(*points, strict=True), f"C{number}", linewidth=1.2, label=stage)
        axis.set_title(title, fontsize=11)
        axis.set_xlabel("pictures, thousands")
        axis.grid(alpha=0.3)
    axis.legend(fontsize=9)
    figure.savefig(picture, dpi=90)


def draw_scores(log: Path, picture: Path) -> None:
    """What more training bought: the share of right answers over the pictures seen."""
    seen = {(row["stage"], row["step"]): row["pictures"] for row in read_log(log)}
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axis = figure.subplots()
    for task in SHOWN:
        points = [
            (seen[point] / 1000, 100 * measured[task]["accuracy"])
            for name, point in POINTS.items()
            if task in (measured := scores(name))
        ]
        axis.plot(*zip(*points, strict=True), marker="o", label=task.replace("_", " "))
    axis.set_xlabel("pictures, thousands")
    axis.set_ylabel("right answers, %")
    axis.set_ylim(0, 100)
    axis.grid(alpha=0.3)
    figure.legend(fontsize=9, loc="outside right upper")
    figure.savefig(picture, dpi=100)


def draw_balance(logs: dict[str, Path], picture: Path) -> None:
    """How evenly experts are used with balancing and without, over the steps."""
    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axis = figure.subplots()
    for name, log in logs.items():
        rows = read_log(log)
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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, help="folder of the runs whose logs to join first")
    runs, log = parser.parse_args().runs, DRAWN / "log.jsonl"
    if runs:
        join_logs(runs, log)
    final = scores("synth")
    draw_training(log, DRAWN / "training.png")
    draw_scores(log, DRAWN / "scores.png")
    balance = {
        "balanced": DRAWN / "balanced.jsonl",
        "neither loss nor bias": DRAWN / "unbalanced.jsonl",
    }
    draw_balance(balance, DRAWN / "balance.png")
    tables = [
        main_table(final),
        beside((*STAGES[:-1], "synth"), STAGES, tuple(final)),
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
