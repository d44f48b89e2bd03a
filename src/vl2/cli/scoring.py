"""`vl2 eval synth`: ask a model about held-out rendered pictures, and keep the scores."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from vl2.cli import terminal
from vl2.cli.counting import counting
from vl2.errors import InputError

PICTURES = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """What is measured: scores of different measurements never share a file.

    Attributes:
        model: as the user names it.
        count: pictures a task.
        dtype: as the user names it.
        max_tiles: local tiles of a picture at most; None for the model's own limit.
    """

    model: str
    count: int = PICTURES
    dtype: str = "auto"
    max_tiles: int | None = None


def measure(asked: Asked, device: str, only: list[str], out: Path | None) -> None:
    """Measure what a file does not hold yet, print all scores, draw them beside the file."""
    terminal.need("eval", "Rendering pictures, with matplotlib's fonts,", "matplotlib")
    terminal.hush()
    scores = _scores(asked, device, only, out)
    _show(scores)
    if out is not None:
        _draw(out, asked)


def _scores(asked: Asked, device: str, only: list[str], out: Path | None) -> list[dict]:
    from vl2.engine.loading import load_parts
    from vl2.evals.synth import evaluate
    from vl2.synth.evaluation import EVALUATED
    from vl2.synth.sampling import TASK_WEIGHTS

    if unknown := set(only) - set(TASK_WEIGHTS):
        raise InputError.unknown("task", min(unknown), TASK_WEIGHTS)
    tasks = [task for task in TASK_WEIGHTS if task in (only or EVALUATED)]
    done = _read(out, asked)
    todo = [task for task in tasks if task not in done]
    if todo:
        model, processor = load_parts(asked.model, device, asked.dtype)
        _write(out, asked, done)  # a place that cannot be written to is told before the work
        with counting("asking", "questions", asked.count * len(todo)) as count:
            for task in todo:
                count.name(task)
                score = evaluate(
                    model,
                    processor,
                    task,
                    asked.count,
                    progress=count.add,
                    max_tiles=asked.max_tiles,
                )
                done[task] = score.as_dict()
                _write(out, asked, done)
    return [done[task] for task in tasks]


def _read(out: Path | None, asked: Asked) -> dict[str, dict]:
    """Scores that an earlier run of the same measurement left."""
    if out is None:
        return {}
    try:
        if not out.exists():
            return {}
        saved = json.loads(out.read_text(encoding="utf-8"))
        scores = saved["scores"]
        before = Asked(saved["model"], saved["count"], saved["dtype"], saved["max_tiles"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise InputError(f"{out} is not a file of scores: name another one ({error}).") from error
    if before == asked:
        return scores
    tiles = "all" if before.max_tiles is None else f"at most {before.max_tiles}"
    raise InputError(
        f"{out} holds scores of {before.model} with {before.count} pictures a task, dtype "
        f"{before.dtype} and {tiles} local tiles: name another file, or delete it."
    )


def _write(out: Path | None, asked: Asked, scores: dict[str, dict]) -> None:
    if out is None:
        return
    today = dt.datetime.now(tz=dt.timezone.utc).date().isoformat()
    record = {**asdict(asked), "date": today, "scores": scores}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"The scores cannot be written to {str(out)!r} ({error}): name another file."
        ) from error


def _show(scores: list[dict]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    whole = ("task", "right", "asked", "accuracy", "95 % interval")  # in 80 columns
    table = Table(*(Column(name, no_wrap=True) for name in whole), "characters wrong")
    for score in scores:
        error = score["character_error"]
        table.add_row(
            score["task"],
            str(score["right"]),
            str(score["asked"]),
            f"{100 * score['accuracy']:.1f} %",
            f"{100 * score['low']:.1f} to {100 * score['high']:.1f}",
            "" if error is None else f"{100 * error:.1f} %",
        )
    Console().print(table)


def _draw(out: Path, asked: Asked) -> None:
    from vl2.evals.chart import draw_scores
    from vl2.evals.synth import TaskScore

    saved = json.loads(out.read_text(encoding="utf-8"))["scores"].values()
    scores = [TaskScore(score["task"], score["right"], score["asked"]) for score in saved]
    pictures = f"{asked.count} held-out picture{'' if asked.count == 1 else 's'}"
    draw_scores(scores, out.with_suffix(".png"), f"{asked.model}, {pictures} a task")
