"""`vl2 read`: documents become text, tables, JSON and boxes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vl2.cli import options, reading, terminal
from vl2.cli.pace import Pace, in_short
from vl2.cli.wish import Wish

if TYPE_CHECKING:
    from vl2.documents.results import Outcome

Fields = Annotated[
    str | None,
    typer.Option(metavar="NAMES", help='Find values by name: "total, date, supplier".'),
]


def command(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Pictures, PDFs, TIFFs, folders, or patterns such as 'scans/**/*.pdf'.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FOLDER", help="Where results go.", show_default=False),
    ],
    text: Annotated[
        bool, typer.Option("--text", help="The text (also if nothing else is asked).")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Pages as Markdown.")] = False,
    tables: Annotated[bool, typer.Option("--tables", help="Tables as Markdown and CSV.")] = False,
    fields: Fields = None,
    schema: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON by this JSON Schema of an object."),
    ] = None,
    ask: Annotated[
        list[str] | None,
        typer.Option(metavar="QUESTION", help="A question about every page. Repeatable."),
    ] = None,
    locate: Annotated[
        list[str] | None,
        typer.Option(metavar="PHRASE", help="Boxes of something on every page. Repeatable."),
    ] = None,
    pages: Annotated[
        str, typer.Option(metavar="PAGES", help="Which pages of each document: 1-3,7,10-.")
    ] = "all",
    dpi: Annotated[
        int, typer.Option(metavar="DPI", help="Resolution that PDFs are rendered in.")
    ] = 144,
    text_layer: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="A PDF's own text: prefer it to reading, compare the two, or ignore it.",
        ),
    ] = "prefer",
    across: Annotated[
        int,
        typer.Option(
            metavar="TILES",
            help="Cut long pages into bands, so that the model sees them at least so wide.",
        ),
    ] = 2,
    max_tokens: options.MaxTokens = 2048,
    model: options.Model = "nano",
    engine: Annotated[
        str,
        typer.Option(
            metavar="ENGINE", help="local; openai or vllm for a server, with --url and --model."
        ),
    ] = "local",
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The server's address, http://HOST:PORT/v1."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Refuse any use of the network.")
    ] = False,
    parallel: Annotated[
        int, typer.Option(metavar="N", min=1, max=256, help="Pages read at once.")
    ] = 8,
    page_seconds: Annotated[
        float, typer.Option(metavar="S", help="Time that rendering a page may take.")
    ] = 30.0,
    page_memory: Annotated[
        str, typer.Option(metavar="SIZE", help="Memory that rendering a page may take.")
    ] = "2GB",
    max_pages: Annotated[
        int, typer.Option(metavar="N", help="Refuse documents of which more pages are to be read.")
    ] = 2000,
    retry: Annotated[
        bool, typer.Option("--retry", help="Read documents with errors again.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="An HTML page with pages and results.")
    ] = True,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    memory: options.Memory = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=1024, help="Processes that read, each with its own model."
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Read on this Ray cluster: HOST:PORT or auto."),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Read documents: text, Markdown, tables, JSON, answers and boxes, page by page.

    Each document gets a folder below FOLDER/documents; FOLDER/index.parquet (or .jsonl) lists
    them, FOLDER/report.html shows them. A run that was broken off goes on where it was. Exit code
    1 tells that documents could not be read; they are listed, and the others have been read.
    """
    wish = Wish(
        inputs=tuple(inputs),
        out=out,
        tasks=reading.tasks(text, markdown, tables, fields, schema, ask or (), locate or ()),
        pages=pages,
        dpi=dpi,
        text_layer=text_layer,
        across=across,
        max_tokens=max_tokens,
        model=model,
        engine=engine,
        url=url,
        offline=offline,
        parallel=parallel,
        limits=reading.limits(page_seconds, page_memory, max_pages),
        retry=retry,
        report=report,
        device=device,
        dtype=dtype,
        memory=memory,
        workers=workers,
        ray=ray,
        quiet=quiet,
    )
    started = time.monotonic()
    outcomes, new = reading.read(wish)
    _tell(outcomes, new, wish, time.monotonic() - started)
    if any(outcome.status != "ok" for outcome in outcomes):
        raise typer.Exit(1)


def _tell(outcomes: list[Outcome], new: Pace, wish: Wish, seconds: float) -> None:
    """What went wrong, a line each, and a summary."""
    wrong = [outcome for outcome in outcomes if outcome.status != "ok"]
    for outcome in wrong:
        terminal.note(terminal.line(f"{outcome.path}: {outcome.status}: {outcome.error}"))
    flagged = sum(outcome.flags for outcome in outcomes)
    pages = sum(outcome.read for outcome in outcomes)
    counted = f"{_count(len(outcomes), 'document')}, {_count(pages, 'page')}"
    if 0 < new.read < pages:
        counted += f" ({new.read} of them read now)"
    speed = f" ({in_short(new.speed)} pages a second)" if new.read else ""
    parts = [f"{len(wrong)} with errors" if wrong else "no errors"]
    if flagged:
        parts.append(f"{_count(flagged, 'page')} to look at")
    typer.echo(f"{counted} in {seconds:.1f} s{speed}; {', '.join(parts)}: {wish.out}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
