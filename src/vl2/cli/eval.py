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
        help="File of a benchmark's questions (.tsv, .parquet, .json, .jsonl); for reproduce the "
        "folder that holds the files of all benchmarks.",
    ),
]
Images: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Folder of the pictures that the questions name."),
]
Limit: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="Ask only the first N rows of a file.", show_default=False
    ),
]
Server: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Address of an OpenAI-compatible server to ask instead, with its version: "
        "http://localhost:8000/v1.",
    ),
]
Parallel: TypeAlias = Annotated[
    int, typer.Option(metavar="N", min=1, help="Questions asked at once.")
]
MaxTokens: TypeAlias = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="Length limit of an answer, if lower than the benchmark's."
    ),
]
Size: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Whose published scores to reproduce: tiny, small or base."),
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


def command(
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
