"""`vl2 data`: look data over before it is trained on."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vl2.cli.counting import counting
from vl2.errors import InputError

if TYPE_CHECKING:
    from vl2.train.checking import Checker, Report

SHOWN = 20


def command(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="What to do: check.")],
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH", help="A JSONL file, a tar shard, or a folder of tar shards."
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="MODEL", help="Whose tokenizer and tiling to measure with."
        ),
    ] = "nano",
    max_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Tokens that a row may have [default: 4096, or the model's context if shorter].",
        ),
    ] = None,
    max_tiles: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Cut a picture into at most so many tiles; 0 sets no limit."
        ),
    ] = 0,
    pictures_root: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder that picture paths are relative to."),
    ] = None,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every picture, not only its header.")
    ] = False,
    workers: Annotated[
        int, typer.Option(metavar="N", min=0, help="Processes that share the work.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a set of rows: can each be read, opened, laid out and learnt from?

    Names every row that is broken, misses a picture, has more or fewer <image> than pictures, is
    too long, answers nothing, or has boxes outside 0..999. The exit code is 1 if there are any.
    """
    if action != "check":
        raise InputError(f"vl2 data can check, not {action!r}: vl2 data check PATH.")
    report = _looked_over(
        _checker(path, model, max_tokens, max_tiles, pictures_root, decode), workers
    )
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2))
    else:
        _show(report)
    if report.bad:
        raise typer.Exit(1)


def _checker(
    path: Path, model: str, max_tokens: int | None, max_tiles: int, root: Path | None, decode: bool
) -> "Checker":
    from vl2.engine.sources import find_checkpoint
    from vl2.processing.processor import DeepseekVLV2Processor
    from vl2.train.checking import Checker, tokens_allowed
    from vl2.train.feeding import open_rows
    from vl2.train.recipe import Recipe

    rows = open_rows(path, root)
    processor = DeepseekVLV2Processor.from_pretrained(find_checkpoint(model))
    allowed = tokens_allowed(max_tokens, processor.max_position_embeddings)
    recipe = Recipe(name="check", max_tokens=allowed, max_tiles=max_tiles)
    return Checker(rows, len(rows), processor, recipe, decode=decode)


def _looked_over(checker: "Checker", workers: int) -> "Report":
    from vl2.train.checking import Report, check

    report = Report()
    with counting("looking at", "rows", len(checker)) as count:
        for report in check(checker, workers):
            count.reach(report.rows)
    return report


def _show(report: "Report") -> None:
    good = report.rows - report.bad
    typer.echo(f"{report.rows} rows, {good} good, {report.bad} bad")
    typer.echo(
        f"{report.tokens} tokens, {report.supervised} of them learnt, longest row {report.longest}"
    )
    typer.echo(f"{report.pictured} rows with pictures, {report.tiles} tiles")
    for finding in report.findings[:SHOWN]:
        typer.echo(f"  {finding}")
    if report.bad > SHOWN:
        typer.echo(f"  and {report.bad - SHOWN} more: --json names up to 1000")
