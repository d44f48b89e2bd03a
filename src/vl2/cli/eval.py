"""`vl2 eval`: measure a model on rendered pictures or on the field's benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from vl2.cli import options, papers
from vl2.cli.benchmarks import Wish, reproduce, run_one
from vl2.cli.scoring import PICTURES, Asked, measure
from vl2.errors import InputError

Data: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="Benchmarks: file of questions (.tsv, .parquet, .json, .jsonl); for reproduce the "
        "folder that holds the files of all benchmarks.",
    ),
]
Images: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="Benchmarks: folder of the pictures that the questions name."
    ),
]
Limit: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Benchmarks: ask only the first N rows of a file.",
        show_default=False,
    ),
]
Server: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="documents, benchmarks: address of an OpenAI-compatible server to ask instead, with "
        "its version: http://localhost:8000/v1.",
    ),
]
Parallel: TypeAlias = Annotated[
    int,
    typer.Option(metavar="N", min=1, help="documents, benchmarks: questions asked at once."),
]
MaxTokens: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="documents, benchmarks: length limit of an answer, if lower than theirs.",
    ),
]
Size: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="reproduce: whose published scores, tiny, small or base."),
]
MaxTiles: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="synth: cut a picture into at most so many tiles.",
        show_default=False,
    ),
]


_BENCHMARK = ("data", "images", "limit", "server", "parallel", "max_tokens")
_TAKES = {
    "synth": ("count", "only", "max_tiles"),
    "documents": ("count", "only", "server", "parallel", "max_tokens"),
    "reproduce": ("size", *_BENCHMARK),
}
"""Options that a task has beside those of every one; the rest are for others. Any task that is not
here is a benchmark."""


def command(
    context: typer.Context,
    task: Annotated[
        str,
        typer.Argument(
            metavar="TASK",
            help="synth (held-out rendered pictures), documents (rendered contracts, statements, "
            "receipts, tables), a benchmark such as docvqa, or reproduce.",
        ),
    ],
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="The model whose scores reproduce compares; other tasks take --model.",
        ),
    ] = None,
    model: options.Model = "nano",
    data: Data = None,
    images: Images = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Folder for predictions and report; for synth a JSON file of scores.",
        ),
    ] = None,
    limit: Limit = None,
    server: Server = None,
    parallel: Parallel = 8,
    max_tokens: MaxTokens = None,
    size: Size = None,
    count: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="synth: pictures a task, one question each (500); documents: of a kind (25).",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="synth, documents: only this task or kind. Repeatable."),
    ] = None,
    max_tiles: MaxTiles = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Measure how often a model is right.

    What --out names is added to: what it holds for the same model and questions is not asked
    again. Benchmarks: docvqa, infovqa, chartqa, textvqa, ocrbench, mathvista, mmbench, mmstar,
    ai2d, realworldqa, mmmu, mme, refcoco, refcoco+, refcocog.
    """
    if subject is not None and task != "reproduce":
        raise InputError(f"{task} takes no second argument ({subject!r}): use --model.")
    _refuse_others(context, task)
    if task == "documents":
        papers.measure_documents(
            papers.Wish(
                model,
                count or papers.COUNT,
                only or (),
                out,
                server,
                parallel,
                max_tokens,
                device,
                dtype,
            )
        )
        return
    if task == "synth":
        asked = Asked(model, count or PICTURES, dtype, max_tiles)
        measure(asked, device, only or [], out)
        return
    wish = Wish(
        subject or model, data, images, out, limit, server, parallel, max_tokens, device, dtype
    )
    if task != "reproduce":
        run_one(task, wish)
        return
    reproduce(size or wish.model, wish)


def _refuse_others(context: typer.Context, task: str) -> None:
    """An option that a task does not have would be left out in silence."""
    from vl2.evals.benchmarks.table import find_task

    if task not in _TAKES:
        find_task(task)  # a wrong name is told first
    taken = _TAKES.get(task, _BENCHMARK)
    for name in dict.fromkeys(name for names in _TAKES.values() for name in names):
        if name not in taken and options.is_given(context, name):
            raise InputError(f"{task} has nothing like --{name.replace('_', '-')}: leave it out.")
