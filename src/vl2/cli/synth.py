"""`vl2 synth`: render pictures with questions and exact answers."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from vl2.cli import terminal
from vl2.errors import InputError

_EVERY = 100


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
        str, typer.Option(metavar="NAME", help="train, or heldout for unseen strings.")
    ] = "train",
    preview: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Picture file for a contact sheet of 12 pictures, instead of --out.",
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

    if (out is None) == (preview is None):
        raise InputError("Name one place to write to: --out FOLDER or --preview PICTURE.")
    terminal.need("train", "Rendering pictures, with matplotlib's fonts,", "matplotlib")
    if preview is not None:
        sheet = contact_sheet(seed, split, boxes=boxes)
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
            written = write(out, split, seed, count, progress=partial(_show_progress, count=count))
        except OSError as error:
            raise InputError(
                f"The pictures cannot be written to {str(out)!r} ({error}): name another folder."
            ) from error
        typer.echo(f"Rendered: {written}.", err=True)
        typer.echo(out / ROWS)


def _show_progress(done: int, count: int) -> None:
    if done % _EVERY == 0 or done == count:
        typer.echo(f"\r{done} of {count} pictures", err=True, nl=done >= count)
