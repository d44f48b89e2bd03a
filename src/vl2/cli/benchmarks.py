"""`vl2 eval` for the field's benchmarks: one of them, or all that a folder has data for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vl2.cli import terminal
from vl2.cli.counting import counting
from vl2.errors import InputError

if TYPE_CHECKING:
    from vl2.evals.benchmarks.answering import Answerer
    from vl2.evals.benchmarks.questions import Scores


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks for.

    Attributes:
        model: name or folder of a model; with a server, what the server calls it.
        data: a file, or for `reproduce` a folder of them.
        images: folder of pictures that the data names.
        out: folder for what comes out.
        limit: rows of a file.
        server: address of an OpenAI-compatible server.
        parallel: questions at once.
        max_tokens: of an answer.
        device: where a model runs.
        dtype: its type.
    """

    model: str
    data: Path | None
    images: Path | None
    out: Path | None
    limit: int | None
    server: str | None
    parallel: int
    max_tokens: int | None
    device: str
    dtype: str


def run_one(task: str, wish: Wish) -> None:
    """Run one benchmark and print its scores."""
    from vl2.evals.benchmarks.files import find_files
    from vl2.evals.benchmarks.table import find_task

    find_task(task)  # a wrong name is told before the wait, and so is a wrong file
    if wish.data is None:
        raise InputError(f"{task} needs a file of questions: name it with --data FILE.")
    find_files(wish.data)
    questions = _counted(task, wish.data, wish)
    scores = _evaluate(task, wish.data, questions, wish.out, wish, _answerer(wish))
    _show(task, scores)


def reproduce(size: str, wish: Wish) -> None:
    """Run all benchmarks that there is data for, and print how they stand to what is published."""
    from vl2.evals.benchmarks.reproduce import files_to_run, targets

    if wish.data is None:
        raise InputError("reproduce needs a folder of benchmark files: name it with --data DIR.")
    aims = targets(size, wish.data)
    files = list(files_to_run(aims))
    if not files:
        raise InputError(
            f"{str(wish.data)!r} holds no file that is named after a benchmark, such as "
            "ChartQA_TEST.tsv."
        )
    questions = {(task, file): _counted(task, file, wish) for task, file in files}
    answerer = _answerer(wish)
    ours: dict[tuple[str, Path], Scores] = {}
    for task, file in files:
        out = wish.out / f"{task}-{file.stem}" if wish.out is not None else None
        ours[task, file] = _evaluate(task, file, questions[task, file], out, wish, answerer)
    _show_targets(size, aims, ours, wish.limit)


def _answerer(wish: Wish) -> Answerer:
    from vl2.engine.remote import key_from_environment
    from vl2.evals.benchmarks.answering import LocalAnswerer, ServerAnswerer

    if wish.server is not None:
        return ServerAnswerer(wish.server, wish.model, key_from_environment())
    from vl2.engine import load

    assistant = load(wish.model, wish.device, wish.dtype)
    return LocalAnswerer(wish.model, assistant)


def _counted(name: str, data: Path, wish: Wish) -> int:
    """How many questions a file asks; what is wrong with it is told before a model is loaded."""
    from vl2.evals.benchmarks.files import read_rows
    from vl2.evals.benchmarks.run import count_questions
    from vl2.evals.benchmarks.table import find_task

    return count_questions(find_task(name), read_rows(data, wish.images), wish.limit)


def _evaluate(
    name: str, data: Path, questions: int, out: Path | None, wish: Wish, answerer: Answerer
) -> Scores:
    from vl2.evals.benchmarks.files import read_rows
    from vl2.evals.benchmarks.report import write_report
    from vl2.evals.benchmarks.run import Run, evaluate
    from vl2.evals.benchmarks.table import find_task

    task = find_task(name)
    if wish.server is not None:
        task = replace(task, max_tiles=9)  # a server cuts pictures as it does
    if wish.max_tokens is not None:
        task = replace(task, max_tokens=min(wish.max_tokens, task.max_tokens))
    run = Run(task, answerer, data, out, wish.limit, wish.parallel)
    with counting(task.title, "questions", questions) as count:
        records, scores = evaluate(run, read_rows(data, wish.images), count.add)
    if out is not None:
        write_report(out / "report.html", task, answerer.name, data.name, records, scores)
    errors = [record.error for record in records if record.error is not None]
    if errors:
        terminal.note(
            f"{len(errors)} of {len(records)} questions could not be asked and count as wrong; the "
            f"first: {errors[0]}"
        )
    return scores


def _show(name: str, scores: Scores) -> None:
    from rich.console import Console
    from rich.table import Table

    from vl2.evals.benchmarks.table import SIZES, find_task, reported

    task = find_task(name)
    table = Table(task.title, task.unit)
    for part, score in scores.items():
        table.add_row("all" if part == "score" else part, f"{score:.1f}")
    console = Console()
    console.print(table)
    published = reported(name)
    if published:
        paper = Table("published", "part", *SIZES)
        for entry in published:
            cells = ("" if score is None else f"{score:g}" for score in entry.scores)
            paper.add_row(entry.source, entry.split, *cells)
        console.print(paper)


def _show_targets(
    size: str, aims: list, ours: dict[tuple[str, Path], Scores], limit: int | None
) -> None:
    from rich.console import Console
    from rich.table import Table

    from vl2.evals.benchmarks.reproduce import TOLERANCE, compared
    from vl2.evals.benchmarks.table import find_task

    table = Table("benchmark", "part", "source", "published", "ours", "", title=size)
    for aim, score, state in compared(aims, ours):
        published = aim.published
        table.add_row(
            find_task(published.task).title,
            published.split,
            published.source,
            f"{aim.score:g}",
            "" if score is None else f"{score:.1f}",
            state,
        )
    console = Console()
    console.print(table)
    for task, file in ours:  # not in the table: a file's name may be longer than a terminal is wide
        typer.echo(terminal.line(f"{find_task(task).title}: {file.name}"))
    console.print(f"Reached: at most {TOLERANCE:.0%} of the best score below the published one.")
    if limit is not None:
        console.print(f"Only the first {limit} rows of each file were asked.")
