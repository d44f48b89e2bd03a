"""Curves of a run: what people would rather look at than read."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_LEFT_OUT = {"step", "epoch", "grad_norm", "learning_rate"}


def draw_curves(log: Path, picture: Path) -> None:
    """Draw every quantity of a run's log over the steps, one panel each.

    Args:
        log: JSON lines with `step` and any scalars.
        picture: PNG to write; nothing is written for an empty log.
    """
    rows = _last_of_each_step(log)
    names = [name for name in _names(rows) if name not in _LEFT_OUT]
    if not names:
        return
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(5 * columns, 3.2 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).flat
    for name, axis in zip(names, axes, strict=False):
        points = [(row["step"], row[name]) for row in rows if name in row]
        axis.plot(*zip(*points, strict=True), linewidth=1.2)
        axis.set_title(name.replace("_", " "), fontsize=10)
        axis.set_xlabel("step")
        axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
        axis.grid(alpha=0.3)
    for axis in list(figure.axes)[len(names) :]:
        axis.set_visible(False)
    figure.savefig(picture, dpi=90)


def draw_experts(log: Path, picture: Path) -> None:
    """Draw how the load of each layer's experts went over the steps, one panel a layer.

    Args:
        log: JSON lines with `step` and `load`, the share of a layer's tokens that each expert got.
        picture: PNG to write; nothing is written for an empty log.
    """
    rows = _last_of_each_step(log)
    if not rows:
        return
    layers, experts = len(rows[0]["load"]), len(rows[0]["load"][0])
    columns = min(4, layers)
    lines = -(-layers // columns)
    figure = Figure(figsize=(4 * columns, 2.6 * lines), layout="constrained")
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for layer, axis in enumerate(axes[:layers]):
        loads = [[share * experts for share in row["load"][layer]] for row in rows]
        shown = axis.imshow(
            list(zip(*loads, strict=True)), aspect="auto", vmin=0, vmax=3, interpolation="nearest"
        )
        axis.set_title(f"mixture layer {layer + 1}", fontsize=9)
        axis.set_xlabel(f"log lines, steps {rows[0]['step']} to {rows[-1]['step']}", fontsize=8)
        axis.set_ylabel("expert", fontsize=8)
    for axis in axes[layers:]:
        axis.set_visible(False)
    figure.colorbar(shown, ax=axes, label="load over the mean")
    figure.savefig(picture, dpi=90)


def _last_of_each_step(log: Path) -> list[dict[str, Any]]:
    """Rows by step; a resumed run writes some steps twice, and the later line holds.

    A line that a full disk cut off is left out: it must not end a run that draws its curves.
    """
    if not log.is_file():
        return []
    rows: dict[int, dict[str, Any]] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            rows[row["step"]] = row
    return [row for _, row in sorted(rows.items())]


def _names(rows: list[dict[str, Any]]) -> list[str]:
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    return list(names)
