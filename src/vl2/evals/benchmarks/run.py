"""A run of a benchmark: ask, judge, keep, and go on where it was broken off."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from vl2.errors import InputError
from vl2.evals.benchmarks.answering import Answerer
from vl2.evals.benchmarks.questions import Question, Record, Scores, Task
from vl2.evals.benchmarks.rows import Row
from vl2.evals.benchmarks.thumbnails import save_thumbnail

PREDICTIONS = "predictions.jsonl"
SCORES = "scores.json"
SETTINGS = "run.json"
THUMBNAILS = "thumbnails"


@dataclass(frozen=True, slots=True)
class Run:
    """One benchmark, one model, one folder.

    Attributes:
        task: the benchmark.
        answerer: the model.
        data: the file of questions, for the report.
        folder: where predictions and scores are kept; None to keep nothing.
        limit: rows of the file that are asked, from its beginning; None for all.
        parallel: questions that are asked at once.
    """

    task: Task
    answerer: Answerer
    data: Path
    folder: Path | None = None
    limit: int | None = None
    parallel: int = 8

    def __post_init__(self) -> None:
        if self.parallel < 1 or (self.limit is not None and self.limit < 1):
            raise InputError(
                "At least one question must be asked at once and in all, got "
                f"{self.parallel} and {self.limit}."
            )


def count_questions(task: Task, rows: Iterable[Row], limit: int | None = None) -> int:
    """How many questions a file asks; a mistake in any row is told before work is spent on others.

    Args:
        task: the benchmark.
        rows: of the file.
        limit: rows that are asked, from the beginning; None for all.

    Raises:
        InputError: a row is malformed, lacks a picture, or has the id of an earlier one.
    """
    return sum(1 for _ in _questions(task, rows, limit))


def evaluate(
    run: Run, rows: Iterable[Row], progress: Callable[[int], None] | None = None
) -> tuple[list[Record], Scores]:
    """Ask all questions that have not been asked yet.

    A question that cannot be asked (a broken picture, more than the context holds) counts as
    answered wrongly, and its record says why. Errors of a server end the run; what has been
    answered stays.

    Args:
        run: what to do.
        rows: of the file.
        progress: told, question by question, how many are done; first those of earlier runs.

    Returns:
        All records in the order of the file, and the scores.

    Raises:
        InputError: the folder holds another run, or cannot be written to; a row is malformed.
    """
    done = _prepared(run)
    if progress is not None and done:
        progress(len(done))
    order: list[str] = []
    with ExitStack() as stack:
        file = stack.enter_context(_opened(run.folder)) if run.folder else None
        pool = stack.enter_context(ThreadPoolExecutor(run.parallel))
        questions = _waiting(run, rows, done, order)
        for record in _answered(run, pool, questions):
            done[record.id] = record
            if file is not None:
                file.write(json.dumps(record.as_dict(), ensure_ascii=False) + "\n")
                file.flush()
            if progress is not None:
                progress(1)
    records = [done[name] for name in order]
    scores = run.task.total(records) if records else {"score": 0.0}
    if run.folder is not None:
        text = json.dumps({"questions": len(records), "scores": scores}, indent=1)
        (run.folder / SCORES).write_text(text, encoding="utf-8")
    return records, scores


def _waiting(
    run: Run, rows: Iterable[Row], done: dict[str, Record], order: list[str]
) -> Iterator[Question]:
    """Questions still to be asked; notes the order of all."""
    for question in _questions(run.task, rows, run.limit):
        order.append(question.id)
        if question.id in done:
            _check_same(question, done[question.id])
        else:
            yield question


def _questions(task: Task, rows: Iterable[Row], limit: int | None) -> Iterator[Question]:
    seen: set[str] = set()
    for row in itertools.islice(rows, limit):
        for question in task.ask(row):
            if question.id in seen:
                raise InputError(f"Row {row.number} has the id {question.id!r} of an earlier one.")
            if not question.pictures:
                raise InputError(
                    f"Row {row.number} has no picture in a column that is known: its columns are "
                    f"{', '.join(row.values)}; call that of the picture 'image'."
                )
            seen.add(question.id)
            yield question


def _check_same(question: Question, kept: Record) -> None:
    """Refuse an answer that was given to another question of the same id."""
    if (question.prompt, question.answers) != (kept.prompt, kept.answers):
        raise InputError(
            f"Question {question.id!r} reads differently in an earlier run that is kept there: "
            "the file has changed, so name another folder, or delete that one."
        )


def _answered(
    run: Run, pool: ThreadPoolExecutor, questions: Iterator[Question]
) -> Iterator[Record]:
    """Records as they come; never more than a few questions are held."""
    working: set[Future[Record]] = set()
    try:
        for question in questions:
            working.add(pool.submit(_answer, run, question))
            if len(working) >= 2 * run.parallel:
                finished, working = wait(working, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        while working:
            finished, working = wait(working, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in finished)
    finally:
        for future in working:
            future.cancel()


def _answer(run: Run, question: Question) -> Record:
    """Ask one question and judge the answer."""
    error = None
    try:
        prediction = run.answerer.answer(question, run.task)
        if run.folder is not None and question.pictures:
            save_thumbnail(question.pictures[-1], run.folder / THUMBNAILS, question.id)
    except InputError as problem:
        prediction, error = "", str(problem)
    judged = run.task.judge(question, prediction)
    return Record(
        question.id,
        question.group,
        question.category,
        question.prompt,
        question.answers,
        prediction,
        judged.said,
        judged.score if error is None else 0.0,
        question.facts,
        error,
    )


def _prepared(run: Run) -> dict[str, Record]:
    """Check that the folder is this run's, and read what it holds."""
    if run.folder is None:
        return {}
    settings = {
        "task": run.task.name,
        "model": run.answerer.name,
        "data": run.data.name,
        "max_tiles": run.task.max_tiles,
        "max_tokens": run.task.max_tokens,
    }
    place = run.folder / SETTINGS
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        held = json.loads(place.read_text(encoding="utf-8")) if place.exists() else None
        if held is None:
            place.write_text(json.dumps(settings, indent=1), encoding="utf-8")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"A run cannot be kept in {str(run.folder)!r} ({error}): name another folder."
        ) from error
    if held is not None and held != settings:
        raise InputError(
            f"{str(run.folder)!r} holds another run ({_told(held, settings)}): name another "
            "folder, or delete it."
        )
    return _read(run.folder / PREDICTIONS)


def _told(held: Any, wanted: Mapping[str, Any]) -> str:  # noqa: ANN401 - whatever the file holds
    """In what an earlier run differs from the one that is wanted."""
    if not isinstance(held, dict):
        return "of another kind"
    for name, value in wanted.items():
        if held.get(name) != value:
            return f"{name} {held.get(name)!r}, not {value!r}"
    return "of another kind"


def _read(path: Path) -> dict[str, Record]:
    """Predictions of an earlier run.

    A last line that was broken off and questions that could not be asked are taken out of the
    file: they are asked again.
    """
    if not path.exists():
        return {}
    records: dict[str, Record] = {}
    kept: list[bytes] = []
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                record = Record.from_dict(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise InputError(f"{str(path)!r} is no file of predictions ({error}).") from error
            if record.error is None:
                records[record.id] = record
                kept.append(line)
    if path.stat().st_size != sum(map(len, kept)):
        part = path.with_suffix(".part")
        part.write_bytes(b"".join(kept))
        part.replace(path)
    return records


def _opened(folder: Path) -> TextIO:
    try:
        (folder / THUMBNAILS).mkdir(exist_ok=True)
        return (folder / PREDICTIONS).open("a", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"Predictions cannot be written to {str(folder)!r} ({error}): name another folder."
        ) from error
