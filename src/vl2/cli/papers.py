"""`vl2 eval documents`: rendered documents read as `vl2 read` does."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vl2.cli import terminal
from vl2.cli.counting import counting
from vl2.errors import InputError

if TYPE_CHECKING:
    from vl2.documents.readers import Reader
    from vl2.documents.settings import Settings
    from vl2.documents.tasks import Task
    from vl2.evals.documents.measure import Score

COUNT = 25


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks for; fields as its options."""

    model: str
    count: int
    kinds: Sequence[str]
    out: Path | None
    server: str | None
    parallel: int
    max_tokens: int | None
    device: str
    dtype: str


def measure_documents(wish: Wish) -> None:
    """Render, read, compare; print the scores and, with a folder, keep everything in it."""
    from vl2.evals.documents.papers import KINDS

    if unknown := set(wish.kinds) - set(KINDS):
        raise InputError.unknown("kind of document", min(unknown), KINDS)
    kinds = [kind for kind in KINDS if kind in (wish.kinds or KINDS)]
    terminal.need("eval", "Rendering documents, with matplotlib's fonts,", "matplotlib")
    if wish.out is not None:
        _measure(wish, kinds, wish.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        _measure(wish, kinds, Path(folder))


def _measure(wish: Wish, kinds: Sequence[str], out: Path) -> None:
    from vl2.documents import files
    from vl2.documents.index import write_index
    from vl2.documents.report.writing import write_report
    from vl2.evals.documents.measure import measure

    fingerprint = _fingerprint(wish)
    reader = _reader(wish, fingerprint)

    def settings(tasks: tuple[Task, ...]) -> Settings:
        return _settings(wish, tasks, fingerprint)

    scores, outcomes = [], []
    try:
        with counting("reading", "documents", wish.count * len(kinds)) as count:
            for kind in kinds:
                score, read = measure(
                    out, kind, wish.count, settings, reader, lambda _: count.add(), wish.parallel
                )
                scores.append(score)
                outcomes += read
    finally:
        reader.close()
    _show(scores, reader.identity.model)
    write_index(out, outcomes)
    write_report(out)
    record = {
        "model": asdict(reader.identity),
        "date": dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
        "documents_a_kind": wish.count,
        "scores": [asdict(score) for score in scores],
    }
    files.write_json(out / "scores.json", record)


def _fingerprint(wish: Wish) -> str:
    from vl2.documents.settings import fingerprint_of
    from vl2.engine.sources import find_checkpoint

    return "" if wish.server is not None else fingerprint_of(find_checkpoint(wish.model))


def _reader(wish: Wish, fingerprint: str) -> Reader:
    from vl2.documents.readers import Identity, LocalReader, RemoteReader
    from vl2.engine.remote import ChatServer, key_from_environment

    if wish.server is not None:
        server = ChatServer(wish.server, key_from_environment())
        server.check(wish.model)
        return RemoteReader(Identity("openai", wish.model, None), server)
    terminal.need("grammar", "Fields, which are read as JSON,", "llguidance")
    assistant = terminal.load_assistant(wish.model, wish.device, wish.dtype, quiet=True)
    return LocalReader(Identity("local", wish.model, assistant.dtype, fingerprint), assistant)


def _settings(wish: Wish, tasks: tuple[Task, ...], fingerprint: str) -> Settings:
    from vl2.documents.settings import Settings
    from vl2.evals.documents.measure import MAX_TOKENS

    return Settings(
        tasks,
        engine="local" if wish.server is None else "openai",
        model=wish.model,
        dtype=wish.dtype if wish.server is None else "",
        fingerprint=fingerprint,
        max_tokens=min(wish.max_tokens or MAX_TOKENS, MAX_TOKENS),
    )


def _show(scores: Sequence[Score], model: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("document", "read", "fields right", "of", "tables (TEDS)", title=model)
    for score in scores:
        table.add_row(
            score.kind,
            str(score.documents),
            str(score.right) if score.fields else "",
            str(score.fields) if score.fields else "",
            "" if score.tables is None else f"{100 * score.tables:.1f} %",
        )
    Console().print(table)
