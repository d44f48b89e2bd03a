"""The folder of a run: which recipe it belongs to, and where the run may go on."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vl2.errors import InputError
from vl2.train.ranks import device_count, is_first
from vl2.train.recipe import Recipe, load_recipe

RECIPE_NAME = "recipe.yaml"


def claim(folder: Path, recipe: Recipe) -> None:
    """Take a folder for a run, or go on with the run of this recipe that it holds.

    What is saved tells the rows of a step even where the recipe leaves them to the number of
    devices: on another number the run would go on with other steps, and with rows that it has seen.

    Raises:
        InputError: it holds a run of another recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recipe, saved = _counted(recipe), folder / RECIPE_NAME
    if saved.is_file() and (others := _differences(_counted(load_recipe(str(saved))), recipe)):
        raise InputError(
            f"{folder} holds a run of another recipe, where {', '.join(others)}: set the same "
            "(--set) to go on with it, give another folder with --output, or delete it to start "
            "over."
        )
    if is_first():
        # In one move: other processes of the run may be reading it.
        whole = folder / f".{RECIPE_NAME}.{os.getpid()}"
        whole.write_text(recipe.as_yaml(), encoding="utf-8")
        whole.replace(saved)


def _counted(recipe: Recipe) -> Recipe:
    """A recipe that says how many rows a step has on the devices that there are."""
    if recipe.global_batch_size:
        return recipe
    devices = device_count()
    rows = recipe.passes(devices) * recipe.batch_size * devices
    return replace(recipe, global_batch_size=rows)


_CHANGEABLE = frozenset(
    (
        *("replicas", "ep_size", "workers", "threads", "batch_size", "accumulate"),
        *("log_every", "save_every", "max_skipped"),
    )
)
"""What may change while a run goes on: the devices, what is written, and how much is forgiven."""


def _differences(held: Recipe, wanted: Recipe) -> list[str]:
    """What makes a recipe another one than the run in a folder has."""
    before, now = asdict(held), asdict(wanted)
    return [
        f"{name} is {_short(before[name])}"
        for name in before
        if name not in _CHANGEABLE and before[name] != now[name]
    ]


def _short(value: Any) -> str:  # noqa: ANN401 - of any setting
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def last_whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end: the Trainer's state comes last."""
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=_step, reverse=True):
        if _is_whole(checkpoint / "trainer_state.json"):
            return str(checkpoint)
    return None


def _is_whole(state: Path) -> bool:
    """Whether a file is there to its end: the Trainer does not write it in one move."""
    try:
        json.loads(state.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
