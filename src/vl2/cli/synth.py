"""`vl2 synth`: render pictures with questions and exact answers."""

from pathlib import Path
from typing import Annotated

import typer

from vl2.cli import terminal
from vl2.cli.counting import counting
from vl2.errors import InputError


def command(
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder for the pictures (PNG) and their questions (rows.jsonl)."
        ),
    ] = None,
    count: Annotated[
        int, typer.Option(metavar="N", min=0, help="How many pictures there shall be.")
    ] = 1000,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the first picture.")] = 0,
    split: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="train, or heldout for unseen strings, fonts and layouts."
        ),
    ] = "train",
    pictures: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Only this kind of picture, such as receipt; NAME=WEIGHT in a mixture. "
            "Repeatable.",
        ),
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Picture file for a contact sheet of 12 pictures, the kinds in turn, instead "
            "of --out.",
        ),
    ] = None,
    boxes: Annotated[
        bool, typer.Option("--boxes", help="Draw the boxes of the answers on the preview.")
    ] = False,
) -> None:
    """Render pictures with questions and exact answers, each from its seed.

    A second call with the same folder goes on where the first one stopped.
    """
    from vl2.synth.export import ROWS, write
    from vl2.synth.preview import contact_sheet
    from vl2.synth.sampling import random_source

    if (out is None) == (preview is None):
        raise InputError("Name one place to write to: --out FOLDER or --preview PICTURE.")
    kinds = _kinds(pictures or [])
    random_source(seed, split)  # a split that there is not is told before a folder is made
    terminal.need("train", "Rendering pictures, with matplotlib's fonts,", "matplotlib")
    if preview is not None:
        sheet = contact_sheet(seed, split, kinds=_in_turn(kinds), boxes=boxes)
        try:
            sheet.save(preview)
        except (OSError, ValueError) as error:
            raise InputError(
                f"The preview cannot be written to {str(preview)!r} ({error}): "
                "name a file such as preview.png in a folder that exists."
            ) from error
        typer.echo(preview)
        return
    if out is not None:
        try:
            with counting("rendering", "pictures", count) as done:
                written = write(out, split, seed, count, kinds=kinds, progress=done.reach)
        except OSError as error:
            raise InputError(
                f"The pictures cannot be written to {str(out)!r} ({error}): name another folder."
            ) from error
        typer.echo(f"Rendered: {written}.", err=True)
        typer.echo(out / ROWS)


def _kinds(named: list[str]) -> dict[str, float]:
    """The weights of the kinds that were named; the default ones for none."""
    from vl2.synth.kinds import KINDS

    if not named:
        return dict(KINDS)
    kinds: dict[str, float] = {}
    for given in named:
        name, _, weight = given.partition("=")
        if name not in KINDS:
            raise InputError.unknown("kind of picture", name, KINDS)
        try:
            kinds[name] = float(weight or 1)
        except ValueError:
            kinds[name] = 0.0
        if not 0 < kinds[name] < float("inf"):
            raise InputError(f"The weight in {given!r} must be a positive number.")
    return kinds


def _in_turn(kinds: dict[str, float]) -> list[dict[str, float]]:
    """What a contact sheet shows one after the other: each kind that was named, or the mixture."""
    from vl2.synth.kinds import KINDS

    return [kinds] if kinds == KINDS else [{name: 1.0} for name in kinds]
