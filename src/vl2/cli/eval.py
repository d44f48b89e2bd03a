"""`vl2 eval`: measure a model on rendered pictures or on the field's benchmarks."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from vl2.cli import options, papers, terminal
from vl2.cli.benchmarks import Wish, reproduce, run_one
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

_PICTURES = 500


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
        terminal.need("eval", "Rendering pictures, with matplotlib's fonts,", "matplotlib")
        terminal.hush()
        count = count or _PICTURES
        scores = _measure(model, count, only or [], out, device, dtype)
        _show(scores)
        if out is not None:
            _draw(out, model, count)
        return
    wish = Wish(
        subject or model, data, images, out, limit, server, parallel, max_tokens, device, dtype
    )
    if task != "reproduce":
        run_one(task, wish)
        return
    reproduce(size or wish.model, wish)


def _measure(
    name: str, count: int, only: list[str], out: Path | None, device: str, dtype: str
) -> list[dict]:
    from rich.console import Console
    from rich.progress import Progress

    from vl2.engine.loading import load_parts
    from vl2.evals.synth import evaluate
    from vl2.synth.evaluation import EVALUATED
    from vl2.synth.sampling import TASK_WEIGHTS

    if unknown := set(only) - set(TASK_WEIGHTS):
        raise InputError(f"Unknown task {min(unknown)!r}: use some of {', '.join(TASK_WEIGHTS)}.")
    tasks = [task for task in TASK_WEIGHTS if task in (only or EVALUATED)]
    done = _read(out, name, count)
    todo = [task for task in tasks if task not in done]
    if todo:
        loaded, processor = load_parts(name, device, dtype)
        _write(out, name, count, done)  # a place that cannot be written to is told before the work
        with Progress(console=Console(stderr=True)) as progress:
            bar = progress.add_task("asking", total=count * len(todo))
            for task in todo:
                progress.update(bar, description=task)
                score = evaluate(
                    loaded,
                    processor,
                    task,
                    count,
                    progress=lambda asked: progress.advance(bar, asked),
                )
                done[task] = score.as_dict()
                _write(out, name, count, done)
    return [done[task] for task in tasks]


def _read(out: Path | None, name: str, count: int) -> dict[str, dict]:
    """Scores that an earlier run of the same measurement left."""
    if out is None:
        return {}
    try:
        if not out.exists():
            return {}
        saved = json.loads(out.read_text(encoding="utf-8"))
        if (saved["model"], saved["count"]) == (name, count):
            return saved["scores"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise InputError(f"{out} is not a file of scores: name another one ({error}).") from error
    raise InputError(
        f"{out} holds scores of {saved['model']} with {saved['count']} pictures a task: name "
        "another file, or delete it."
    )


def _write(out: Path | None, name: str, count: int, scores: dict[str, dict]) -> None:
    if out is None:
        return
    record = {
        "model": name,
        "count": count,
        "date": dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
        "scores": scores,
    }
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"The scores cannot be written to {str(out)!r} ({error}): name another file."
        ) from error


def _show(scores: list[dict]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("task", "right", "asked", "accuracy", "95 % interval", "characters wrong")
    for score in scores:
        error = score.get("character_error")  # files of earlier versions have none
        table.add_row(
            score["task"],
            str(score["right"]),
            str(score["asked"]),
            f"{100 * score['accuracy']:.1f} %",
            f"{100 * score['low']:.1f} to {100 * score['high']:.1f} %",
            "" if error is None else f"{100 * error:.1f} %",
        )
    Console().print(table)


def _draw(out: Path, name: str, count: int) -> None:
    from vl2.evals.chart import draw_scores
    from vl2.evals.synth import TaskScore

    saved = json.loads(out.read_text(encoding="utf-8"))["scores"].values()
    scores = [TaskScore(score["task"], score["right"], score["asked"]) for score in saved]
    pictures = f"{count} held-out picture{'' if count == 1 else 's'}"
    draw_scores(scores, out.with_suffix(".png"), f"{name}, {pictures} a task")
