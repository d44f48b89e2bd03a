"""`vl2 train`: run a recipe."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vl2.cli import terminal

if TYPE_CHECKING:
    from vl2.processing.tiling import Grid, Tiling
    from vl2.synth import Sample, Scene
    from vl2.train.recipe import Recipe
    from vl2.train.rows import Lesson
    from vl2.train.vision import DensePicture, DenseTargets


def command(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="A YAML file, or a built-in recipe, such as nano or tiny-sft."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder of the run [default: runs/NAME].")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Replace a setting, as in --set steps=100. Repeatable.",
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print the resolved recipe and train nothing.")
    ] = False,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Print what the run would take, and train nothing."),
    ] = False,
    devices: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many devices the plan is for.")
    ] = 1,
) -> None:
    """Train a model from a recipe; called again, it goes on where it was stopped.

    A built-in recipe that starts from the result of an earlier one runs that one first, unless it
    is there.

    The folder of the run gets checkpoints, the resolved recipe, a log (log.jsonl) and its curves
    (curves.png); `final` holds the result.
    """
    from vl2.train.recipe import load_recipe

    resolved = load_recipe(recipe, tuple(set_ or ()))
    if show:
        typer.echo(resolved.as_yaml(), nl=False)
        return
    if plan:
        typer.echo(_plan(resolved, devices))
        return
    folder = output or Path("runs") / resolved.name
    terminal.need("train", "Training", "accelerate", "matplotlib")
    terminal.hush()
    result = _run(resolved, folder)
    if _speaks():
        typer.echo(result)


def _speaks() -> bool:
    """Whether this process talks; of several that train together the first one does."""
    from vl2.train.ranks import is_first

    return is_first()


def _plan(recipe: Recipe, devices: int) -> str:
    from vl2.errors import InputError
    from vl2.train.plan import config_of, make_plan, plan_text

    if recipe.stage == "vision" or recipe.model == "nano-scratch":
        raise InputError(
            f"There is no plan for {recipe.name}: --plan is for recipes that start from weights."
        )
    recipe = _with_folder(recipe)
    return plan_text(recipe, make_plan(recipe, config_of(recipe), devices, gpu=True))


def _with_folder(recipe: Recipe, *names: str) -> Recipe:
    """The recipe with the folder of its model for `nano`, or for another of `names`."""
    from dataclasses import replace

    from vl2.engine.sources import EMBEDDED, find_checkpoint

    if recipe.model not in (EMBEDDED, *names):
        return recipe
    return replace(recipe, model=str(find_checkpoint(recipe.model)))


def _run(recipe: Recipe, folder: Path) -> Path:
    from vl2.engine.sources import RELEASES
    from vl2.synth import CHARACTERS, COLOURS, SHAPES, vocabulary
    from vl2.synth.answers import COORDINATES
    from vl2.train.recipe import load_recipe
    from vl2.train.run import (
        earlier_stages,
        finished,
        starting_point,
        train_answers,
        train_vision,
    )
    from vl2.train.vision import DenseNames

    recipe = _with_folder(recipe, *RELEASES)
    tell = partial(typer.echo, err=True) if _speaks() else _keep_quiet
    if result := finished(recipe, folder):
        tell(f"vl2: the run in {folder} is finished: nothing is left to do.")
        return result
    for stage, run in earlier_stages(recipe):
        tell(f"vl2: {recipe.name} starts from what {stage} leaves, which is not there yet.")
        _run(load_recipe(stage), run)
    tell(f"{recipe.name}: {recipe.steps} steps, in {folder}")
    model, processor = starting_point(recipe, vocabulary(), COORDINATES, folder)
    names = DenseNames(CHARACTERS, SHAPES, tuple(COLOURS))
    if recipe.stage == "vision":
        encoder = model.model.vision_tower
        return train_vision(recipe, folder, encoder, _rendered_tiles(recipe), names, tell)
    source = _rendered_lessons(recipe) if recipe.data == "synth" else None
    return train_answers(recipe, folder, model, processor, source, names, tell)


def _keep_quiet(line: str) -> None:
    """Takes what nobody is to read."""


_FAR = 10**12
"""Between the seed of a picture and that of its stand-in: farther than any run gets."""

_STAND_INS = 200


def _rendered_lessons(recipe: Recipe) -> Callable[[int], Lesson]:
    """Rendered pictures with questions and answers, and what each patch shows."""
    from vl2.chat import as_conversation
    from vl2.errors import InputError
    from vl2.synth import sample
    from vl2.synth.export import messages
    from vl2.synth.kinds import KINDS
    from vl2.synth.sampling import TASK_WEIGHTS
    from vl2.train.rows import Lesson

    kinds, tasks = recipe.pictures or KINDS, recipe.tasks or TASK_WEIGHTS

    def lesson(index: int) -> Lesson:
        # A picture that gives rise to no question (one in thousands) makes room for another one.
        seeds = itertools.islice(itertools.count(recipe.seed_of(index), _FAR), _STAND_INS)
        pictures = (sample(seed, kinds=kinds, tasks=tasks, turns=recipe.turns) for seed in seeds)
        drawn = next((picture for picture in pictures if picture.turns), None)
        if drawn is None:
            raise InputError(
                f"In the recipe, none of the tasks {', '.join(tasks)} asks about pictures of the "
                f"kinds {', '.join(kinds)}: name other tasks, or leave tasks empty."
            )
        conversation = as_conversation(messages(drawn), drawn.images)
        known = _all_targets(drawn, recipe.max_tiles or None) if recipe.naming_weight else None
        return Lesson(conversation, known, divisible=True)

    return lesson


def _rendered_tiles(recipe: Recipe) -> Callable[[int], DensePicture]:
    """Some tiles of each rendered picture, with what each patch shows."""
    import numpy as np

    from vl2.processing.images import cut
    from vl2.synth import TILING, sample
    from vl2.synth.kinds import KINDS
    from vl2.train.vision import DensePicture

    kinds = recipe.pictures or KINDS

    def tiles(index: int) -> DensePicture:
        seed = recipe.seed_of(index)
        drawn = sample(seed, kinds=kinds, tasks={}, turns=(0, 0)).scenes[0]
        grid = TILING.grid(*drawn.image.size)
        # Tiles of one picture resemble each other: a few of them each, of more pictures.
        random = np.random.default_rng(seed)
        kept = list(1 + random.permutation(grid.n_tiles - 1)[:2])
        kept += [0] if random.random() < 0.5 else []
        pixels = cut(drawn.image, grid, TILING)[kept]
        return DensePicture(pixels, _targets(drawn, grid, TILING).of_tiles(kept))

    return tiles


def _all_targets(drawn: Sample, max_tiles: int | None) -> DenseTargets | None:
    """What the patches of all pictures show, cut as the processor cuts them; None without any."""
    from vl2.processing.building import choose_grids
    from vl2.synth import TILING
    from vl2.train.vision import DenseTargets

    tiling = TILING.limited(max_tiles)
    grids = choose_grids([image.size for image in drawn.images], tiling)
    found = [_targets(scene, grid, tiling) for scene, grid in zip(drawn.scenes, grids, strict=True)]
    return DenseTargets.joined(found) if found else None


def _targets(drawn: Scene, grid: Grid, tiling: Tiling) -> DenseTargets:
    from vl2.synth import dense_labels
    from vl2.train.vision import DenseTargets

    labels = dense_labels(drawn, grid, tiling)
    if grid.n_tiles > 2:
        labels.characters[0] = -1  # too small to read in the global view of a cut picture
    return DenseTargets(labels.characters, labels.shape, labels.colour, labels.box)
