"""What a run tells while it goes on: lines for people, a log for programs, curves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainingArguments

from vl2.train.claiming import RECIPE_NAME
from vl2.train.curves import draw_curves, draw_experts
from vl2.train.experts import EXPERTS_NAME

LOG_NAME = "log.jsonl"


class Journal(TrainerCallback):
    """Writes each line of the log as JSON and redraws the curves at each checkpoint.

    Args:
        folder: of the run.
        tell: takes one short line for people each time.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self._folder = folder
        self._tell = tell
        self._begun = (0, 0.0)

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: Any,  # noqa: ANN401
        control: Any,  # noqa: ANN401
        **kwargs: object,
    ) -> None:
        self._begun = (state.global_step, time.monotonic())

    def on_log(
        self,
        args: TrainingArguments,
        state: Any,  # noqa: ANN401
        control: Any,  # noqa: ANN401
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        if logs and "loss" in logs and state.is_world_process_zero:
            with (self._folder / LOG_NAME).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, **logs}) + "\n")
            first, since = self._begun
            pace = (time.monotonic() - since) / max(1, state.global_step - first)
            left = pace * (state.max_steps - state.global_step)
            self._tell(
                f"step {state.global_step} of {state.max_steps}: loss {logs['loss']:.4f}, "
                f"learning rate {logs['learning_rate']:.2e}, {_spelled(left)} left"
            )

    def on_save(
        self,
        args: TrainingArguments,
        state: Any,  # noqa: ANN401
        control: Any,  # noqa: ANN401
        **kwargs: object,
    ) -> None:
        if state.is_world_process_zero:
            recipe = self._folder / RECIPE_NAME
            copy = self._folder / f"checkpoint-{state.global_step}" / RECIPE_NAME
            copy.write_text(recipe.read_text(encoding="utf-8"), encoding="utf-8")
            self._draw()

    def on_train_end(
        self,
        args: TrainingArguments,
        state: Any,  # noqa: ANN401
        control: Any,  # noqa: ANN401
        **kwargs: object,
    ) -> None:
        if state.is_world_process_zero:
            self._draw()

    def _draw(self) -> None:
        draw_curves(self._folder / LOG_NAME, self._folder / "curves.png")
        draw_experts(self._folder / EXPERTS_NAME, self._folder / "experts.png")


def _spelled(seconds: float) -> str:
    """A duration in the unit that fits it: `40 s`, `12 min`, `5.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
