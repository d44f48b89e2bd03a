"""Between `vl2 read` and the library: what is asked, who reads, and how far it is."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vl2.cli import pace, spreading, terminal
from vl2.cli.counting import counting
from vl2.cli.pace import Pace
from vl2.cli.wish import Wish
from vl2.errors import InputError

if TYPE_CHECKING:
    from vl2.documents.rendering.limits import Limits
    from vl2.documents.results import Outcome
    from vl2.documents.settings import Settings
    from vl2.documents.tasks import Task

SERVERS = ("openai", "vllm")
_MAX_SCHEMA = 2**16


def tasks(
    text: bool,
    markdown: bool,
    tables: bool,
    fields: str | None,
    schema: Path | None,
    questions: Sequence[str],
    phrases: Sequence[str],
) -> tuple[Task, ...]:
    """What is asked of each page; its text if nothing else is."""
    from vl2.documents import tasks as made

    wanted: list[Task] = []
    if markdown:
        wanted.append(made.read_markdown())
    if tables:
        wanted.append(made.read_tables())
    if fields is not None:
        wanted.append(made.read_fields(fields))
    if schema is not None:
        wanted.append(made.read_schema(_text_of(schema)))
    wanted += [made.ask(question) for question in questions]
    wanted += [made.locate(phrase) for phrase in phrases]
    if text or not wanted:
        wanted.insert(0, made.read_text())
    return tuple(wanted)


def limits(seconds: float, memory: str, pages: int) -> Limits:
    """What a document may take."""
    from vl2.documents.rendering.limits import Limits
    from vl2.engine.spelling import parse_size

    return Limits(seconds=seconds, memory=parse_size(memory), pages=pages)


def read(wish: Wish) -> tuple[list[Outcome], Pace]:
    """Read what is new, and write index and report; what became of all, and how fast it went."""
    from vl2.documents.offline import no_network

    _check_engine(wish)
    spreading.check(wish)
    terminal.check_placement(wish.device, wish.dtype, wish.memory)
    with no_network() if wish.offline else contextlib.nullcontext():
        return _read(wish)


def _read(wish: Wish) -> tuple[list[Outcome], Pace]:
    from vl2.documents.files import clear_parts, held
    from vl2.documents.index import check_index, write_index
    from vl2.documents.report.writing import write_report
    from vl2.documents.run import plan, run
    from vl2.documents.sources import find

    paths = find(wish.inputs, skip=wish.out)
    _check_pdfs(paths)
    settings = _settings(wish)
    _make_folder(wish.out)
    with held(wish.out):
        clear_parts(wish.out)
        check_index(wish.out)
        with counting("looking at", "files", len(paths), quiet=wish.quiet) as count:
            planned = plan(paths, settings, wish.out, again=wish.retry, on_file=count.add)
        if planned.jobs:
            _check_server(wish)
            with pace.shown(len(planned.jobs), quiet=wish.quiet) as line:
                outcomes = spreading.work(wish, settings, planned, line)
            pages = line.pace
        else:
            outcomes, pages = run(planned, _not_called, 1), Pace(0)
        write_index(wish.out, outcomes)
        if wish.report:
            _add_copies(wish)
            write_report(wish.out)
    return outcomes, pages


def _add_copies(wish: Wish) -> None:
    """Pictures of pages that an earlier run with `--no-report` read."""
    from vl2.documents.copies import add_copies
    from vl2.documents.report.writing import without_copies

    if wanting := without_copies(wish.out):
        pages = sum(len(document.pages) for document in wanting)
        with counting("rendering for the report", "pages", pages, quiet=wish.quiet) as count:
            add_copies(wanting, wish.limits, count.add)


def _check_server(wish: Wish) -> None:
    """Refuse a server that would fail at every document."""
    from vl2.engine.remote import ChatServer, key_from_environment

    if wish.url is not None:
        ChatServer(wish.url, key_from_environment()).check(wish.model)


def _not_called(job: object) -> Outcome:
    raise AssertionError(f"{job} was read before")


def _check_engine(wish: Wish) -> None:
    if wish.engine not in ("local", *SERVERS):
        raise InputError(f"There is no engine {wish.engine!r}: use local, openai or vllm.")
    if wish.engine in SERVERS and wish.url is None:
        raise InputError(f"--engine {wish.engine} needs --url, such as http://localhost:8000/v1.")
    if wish.engine == "local" and wish.url is not None:
        raise InputError("--url needs --engine openai or vllm: a local model has no address.")
    if wish.offline and wish.engine in SERVERS:
        raise InputError(f"--offline forbids --engine {wish.engine}, which uses the network.")


def _check_pdfs(paths: Sequence[Path]) -> None:
    if any(path.suffix.lower() == ".pdf" for path in paths):
        terminal.need("documents", "Reading PDFs", "pypdfium2")


def _settings(wish: Wish) -> Settings:
    from vl2.documents.pages import PageChoice
    from vl2.documents.settings import Settings, fingerprint_of
    from vl2.engine.sources import find_checkpoint

    local = wish.engine == "local"
    return Settings(
        tasks=wish.tasks,
        engine=wish.engine,
        model=wish.model,
        dtype=wish.dtype if local else "",
        fingerprint=fingerprint_of(find_checkpoint(wish.model)) if local else "",
        pages=PageChoice.parse(wish.pages),
        dpi=wish.dpi,
        text_layer=wish.text_layer,
        across=wish.across,
        max_tokens=wish.max_tokens,
    )


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{str(out)!r} cannot be a folder of results ({terminal.reason(error)}): name another."
        ) from error


def _text_of(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_SCHEMA:
            raise InputError(f"{str(path)!r} is larger than a schema may be, 64 KiB.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The schema {str(path)!r} cannot be read ({terminal.reason(error)})."
        ) from error
