"""Rendered samples as training rows: in memory, or as PNG files and JSON lines in a folder."""

import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from vl2.errors import InputError
from vl2.synth.sampling import Sample, sample

ROWS = "rows.jsonl"
"""The file of the rows; each names its pictures by paths relative to the folder."""


def messages(of: Sample) -> list[dict[str, Any]]:
    """The turns of a sample as messages of content parts; the picture stands in the first."""
    spelt: list[dict[str, Any]] = []
    for turn in of.turns:
        question = [{"type": "text", "text": turn.question}]
        answer = [{"type": "text", "text": turn.answer}]
        spelt.append({"role": "user", "content": question})
        spelt.append({"role": "assistant", "content": answer})
    if spelt:
        spelt[0]["content"].insert(0, {"type": "image"})
    return spelt


def rows(split: str, start: int = 0, count: int | None = None) -> Iterator[dict[str, Any]]:
    """Training rows `{"messages": [...], "images": [picture]}`, one a seed.

    Args:
        split: "train" or "heldout".
        start: The seed of the first picture; the others follow.
        count: How many; None goes on for ever.

    Raises:
        InputError: an unknown split, or a negative seed.
    """
    seed = start
    while count is None or seed < start + count:
        drawn = sample(seed, split)
        yield {"messages": messages(drawn), "images": [drawn.image]}
        seed += 1


def write(
    folder: str | os.PathLike[str],
    split: str,
    start: int,
    count: int,
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Writes rows as `rows.jsonl` with the pictures as PNG files; goes on after a stop.

    A picture is written before its row, so every row that is there is whole; a last row without its
    line end is written again. Rows hold "seed" and "split" besides "messages" and "images".

    Args:
        folder: Where to write; made if it is missing.
        split: "train" or "heldout".
        start: The seed of the first picture.
        count: How many rows there shall be in all.
        progress: Called with the number of rows that are there.

    Returns:
        How many rows were written now.

    Raises:
        InputError: the folder holds rows of another split or of other seeds, or is a file.
    """
    base = pathlib.Path(folder)
    if base.exists() and not base.is_dir():
        raise InputError(f"{str(base)!r} is a file: name a folder to write the pictures to.")
    pictures = base / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    done = _rows_there(base / ROWS, split, start)
    progress(done)
    with (base / ROWS).open("a", encoding="utf-8") as file:
        for seed in range(start + done, start + count):
            drawn = sample(seed, split)
            name = f"{split}-{seed:08d}.png"
            drawn.image.save(pictures / name)
            row = {
                "messages": messages(drawn),
                "images": [f"{pictures.name}/{name}"],
                "split": split,
                "seed": seed,
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            progress(seed - start + 1)
    return max(0, count - done)


def _rows_there(path: pathlib.Path, split: str, start: int) -> int:
    """How many whole rows a file holds; a row that was cut off is taken away."""
    if not path.exists():
        return 0
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    lines = whole.splitlines()
    if lines:
        _check_row(lines[0], path, split, start)
        _check_row(lines[-1], path, split, start + len(lines) - 1)
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    return len(lines)


def _check_row(line: bytes, path: pathlib.Path, split: str, seed: int) -> None:
    try:
        row = json.loads(line)
        found = (row["split"], row["seed"])
    except (ValueError, KeyError, TypeError):
        found = None
    if found != (split, seed):
        raise InputError(
            f"{str(path)!r} does not hold the rows of split {split!r} in this order "
            f"(expected seed {seed}, found {found}): write to an empty folder."
        )
