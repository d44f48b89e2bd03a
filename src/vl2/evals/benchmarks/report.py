"""A run as one HTML page that opens from disk: scores, the paper's beside them, and samples."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from vl2 import grounding
from vl2.evals.benchmarks.page import CSS, SCRIPT
from vl2.evals.benchmarks.questions import Record, Scores, Task
from vl2.evals.benchmarks.run import THUMBNAILS
from vl2.evals.benchmarks.table import SIZES, reported
from vl2.evals.benchmarks.thumbnails import thumbnail_path

SAMPLES = 200
_LONGEST_TEXT = 1500


def write_report(
    path: Path,
    task: Task,
    model: str,
    data: str,
    records: Sequence[Record],
    scores: Scores,
) -> None:
    """Write the page.

    Args:
        path: file to write; the small copies of pictures are in a folder beside it.
        task: the benchmark.
        model: who answered.
        data: name of the file of questions.
        records: all questions; wrong ones are shown first, at most `SAMPLES` in all.
        scores: of the run.
    """
    shown = sorted(records, key=lambda record: record.score)[:SAMPLES]
    folder = path.parent / THUMBNAILS
    page = "".join(
        (
            "<!doctype html><html lang=en><meta charset=utf-8>",
            '<meta name=viewport content="width=device-width">',
            f"<title>{_safe(task.title)}: {_safe(model)}</title><style>{CSS}</style>",
            f"<h1>{_safe(task.title)}</h1>",
            f"<p class=who>{_safe(model)}<br>{len(records)} questions of {_safe(data)}</p>",
            _headline(task, scores),
            _published(task),
            _parts(scores),
            _filters(records, shown),
            "<main>",
            *(_card(record, folder) for record in shown),
            f"</main><script>{SCRIPT}</script>",
        )
    )
    path.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")  # names of files


def _safe(text: object) -> str:
    written = str(text)
    if len(written) > _LONGEST_TEXT:
        written = written[:_LONGEST_TEXT] + " ..."
    return html.escape(written)


def _headline(task: Task, scores: Scores) -> str:
    score = scores.get("score", 0.0)
    share = min(100.0, 100 * score / task.best)
    return (
        f"<p class=score><b>{score:.1f}</b> {_safe(task.unit)}</p>"
        f"<div class=bar><i style='width:{share:.1f}%'></i></div>"
    )


def _published(task: Task) -> str:
    entries = reported(task.name)
    if not entries:
        return ""
    head = "".join(f"<th>{size}</th>" for size in SIZES)
    rows = "".join(
        f"<tr><td>{_safe(entry.source)}<td>{_safe(entry.split)}"
        + "".join(f"<td class=n>{'' if s is None else f'{s:g}'}" for s in entry.scores)
        for entry in entries
    )
    return (
        "<h2>Published for the released models</h2>"
        f"<table><tr><th>source<th>part{head}{rows}</table>"
    )


def _parts(scores: Scores) -> str:
    parts = list(scores.items())[1:]
    if not parts:
        return ""
    rows = "".join(f"<tr><td>{_safe(name)}<td class=n>{value:.1f}" for name, value in parts)
    return f"<h2>By part</h2><table>{rows}</table>"


def _filters(records: Sequence[Record], shown: Sequence[Record]) -> str:
    wrong = sum(record.score < 1 for record in records)
    pointing = any("box" in record.facts for record in shown)
    legend = " Boxes: solid what was said, dashed what is right." if pointing else ""
    return (
        f"<h2>Questions</h2><p>{wrong} of {len(records)} are not wholly right; "
        f"{len(shown)} are shown.{legend}</p><p class=filters>"
        "<button data-show=all>all</button><button data-show=wrong>wrong</button>"
        "<button data-show=right>right</button></p>"
    )


def _card(record: Record, folder: Path) -> str:
    state = "right" if record.score >= 1 else "wrong"
    said = _safe(record.prediction) if record.error is None else _safe(record.error)
    read = "" if record.said is None else f"<dt>read as<dd>{_safe(record.said)}"
    name = "not asked" if record.error is not None else "answer"
    return (
        f"<article class={state}>{_picture(record, folder)}"
        f"<p class=q>{_safe(record.prompt)}</p>"
        f"<dl><dt>{name}<dd>{said}{read}<dt>right<dd>{_safe(' | '.join(record.answers))}"
        f"<dt>score<dd>{record.score:.2f}</dl><footer>{_safe(record.id)} {_safe(record.category)}"
        "</footer></article>"
    )


def _picture(record: Record, folder: Path) -> str:
    place = thumbnail_path(folder, record.id)
    if not place.is_file():
        return ""
    encoded = base64.b64encode(place.read_bytes()).decode()
    return (
        f'<div class=picture><img alt="" src="data:image/jpeg;base64,{encoded}">'
        f"{_overlay(record)}</div>"
    )


def _overlay(record: Record) -> str:
    """Boxes of the answer (solid) and of the right answer (dashed) over the picture."""
    said = list(_rectangles(record.prediction, "said"))
    right = [part for answer in record.answers for part in _rectangles(answer, "truth")]
    if not said and not right:
        return ""
    size = f"0 0 {grounding.GRID} {grounding.GRID}"
    return f'<svg viewBox="{size}" preserveAspectRatio=none>{"".join((*right, *said))}</svg>'


def _rectangles(text: str, kind: str) -> Iterator[str]:
    boxes: Iterable[grounding.Box] = grounding.parse_normalised(text)
    for box in boxes:
        wide, tall = box.x2 - box.x1, box.y2 - box.y1
        yield (
            f'<rect class={kind} x="{box.x1:g}" y="{box.y1:g}" width="{wide:g}" height="{tall:g}"/>'
        )
