"""`vl2 train`: run a recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vl2.chat import Conversation
    from vl2.train.recipe import Recipe
    from vl2.train.vision import DenseClasses, DensePicture


def command(
    recipe: Annotated[
        str, typer.Argument(help="A YAML file, or a built-in recipe: nano-vision, nano.")
    ],
    output: Annotated[
        Path | None, typer.Option(help="Folder of the run [default: runs/NAME].")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Replace a setting, as in --set steps=100. Repeatable."),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print the resolved recipe and train nothing.")
    ] = False,
) -> None:
    """Train a model from a recipe; called again, it goes on where it was stopped.

    The folder of the run gets checkpoints, the resolved recipe, a log (log.jsonl) and its curves
    (curves.png); `final` holds the result.
    """
    from vl2.train.recipe import load_recipe

    resolved = load_recipe(recipe, tuple(set_ or ()))
    if show:
        typer.echo(resolved.as_yaml(), nl=False)
        return
    folder = output or Path("runs") / resolved.name
    typer.echo(f"{resolved.name}: {resolved.steps} steps, in {folder}", err=True)
    typer.echo(_run(resolved, folder))


def _run(recipe: Recipe, folder: Path) -> Path:
    from vl2.synth import vocabulary
    from vl2.synth.answers import COORDINATES
    from vl2.train.run import starting_point, train_answers, train_vision

    model, processor = starting_point(recipe, vocabulary(), COORDINATES)
    if recipe.stage == "vision":
        encoder = model.model.vision_tower
        return train_vision(recipe, folder, encoder, _dense_source(recipe), _dense_classes())
    return train_answers(recipe, folder, model, processor, _conversation_source(recipe))


def _conversation_source(recipe: Recipe) -> Callable[[int], Conversation]:
    from vl2.chat import as_conversation
    from vl2.synth import sample
    from vl2.synth.export import messages
    from vl2.train.data import JsonLines

    if recipe.data != "synth":
        return JsonLines(Path(recipe.data), recipe.seed)

    def conversation(index: int) -> Conversation:
        drawn = sample(recipe.first_picture + index, turns=recipe.turns)
        return as_conversation(messages(drawn), [drawn.image])

    return conversation


def _dense_source(recipe: Recipe) -> Callable[[int], DensePicture]:
    import numpy as np

    from vl2.processing.images import cut
    from vl2.synth import TILING, dense_labels, sample
    from vl2.train.vision import DensePicture

    def picture(index: int) -> DensePicture:
        seed = recipe.first_picture + index
        drawn = sample(seed, tasks={}, turns=(0, 0))
        grid = TILING.grid(*drawn.image.size)
        tiles, labels = cut(drawn.image, grid, TILING), dense_labels(drawn, grid, TILING)
        if grid.n_tiles > 2:
            labels.characters[0] = -1  # in the global view of a cut picture they are too small
        # Tiles of one picture resemble each other: a few of them each, of more pictures.
        random = np.random.default_rng(seed)
        kept = list(1 + random.permutation(grid.n_tiles - 1)[:2])
        kept += [0] if random.random() < 0.5 else []
        return DensePicture(
            pixel_values=tiles[kept],
            characters=labels.characters[kept],
            shape=labels.shape[kept],
            colour=labels.colour[kept],
            box=labels.box[kept],
        )

    return picture


def _dense_classes() -> DenseClasses:
    from vl2.synth import CHARACTER_CLASSES, COLOUR_CLASSES, SHAPE_CLASSES
    from vl2.train.vision import DenseClasses

    return DenseClasses(CHARACTER_CLASSES, SHAPE_CLASSES, COLOUR_CLASSES)
