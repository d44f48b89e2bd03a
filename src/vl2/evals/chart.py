"""Scores as a bar chart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from vl2.evals.synth import TaskScore


def draw_scores(scores: Sequence[TaskScore], picture: Path, title: str) -> None:
    """Draw the accuracy of each task with its 95 % interval.

    Args:
        scores: at least one.
        picture: PNG to write.
        title: above the chart.
    """
    figure = Figure(figsize=(7, 0.42 * len(scores) + 1.2), layout="constrained")
    axis = figure.subplots()
    names = [score.task.replace("_", " ") for score in scores]
    values = [100 * score.accuracy for score in scores]
    around = [
        [100 * (score.accuracy - score.interval[0]) for score in scores],
        [100 * (score.interval[1] - score.accuracy) for score in scores],
    ]
    axis.barh(names, values, xerr=around, color="#4878a8", ecolor="#30343a", capsize=2)
    # In a column of their own: beside the bars they would lie at the ends of the intervals.
    for place, value in enumerate(values):
        axis.text(103, place, f"{value:.1f} %", va="center", fontsize=9)
    axis.set_xlim(0, 118)
    axis.set_xticks(range(0, 101, 20))
    axis.set_xlabel("right answers, %")
    axis.set_title(title, fontsize=11)
    axis.invert_yaxis()
    figure.savefig(picture, dpi=110)
