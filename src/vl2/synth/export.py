"""Rendered samples as training rows: in memory, or as PNG files and JSON lines in a folder."""

import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vl2.errors import InputError
from vl2.synth.kinds import KINDS
from vl2.synth.sampling import Sample, sample

ROWS = "rows.jsonl"
"""The file of the rows; each names its pictures by paths relative to the folder."""


def messages(of: Sample) -> list[dict[str, Any]]:
    """The turns of a sample as messages of content parts; the pictures stand in the first."""
    spelt: list[dict[str, Any]] = []
    for turn in of.turns:
        question = [{"type": "text", "text": turn.question}]
        answer = [{"type": "text", "text": turn.answer}]
        spelt.append({"role": "user", "content": question})
        spelt.append({"role": "assistant", "content": answer})
    if spelt:
        spelt[0]["content"][:0] = [{"type": "image"} for _ in of.scenes]
    return spelt


def rows(
    split: str, start: int = 0, count: int | None = None, *, kinds: Mapping[str, float] = KINDS
) -> Iterator[dict[str, Any]]:
    """Training rows `{"messages": [...], "images": [picture, ...]}`, one a seed.

    Args:
        split: "train" or "heldout".
        start: The seed of the first row; the others follow.
        count: How many; None goes on for ever.
        kinds: The weight of each kind of picture.

    Raises:
        InputError: an unknown split or kind, or a negative seed.
    """
    seed = start
    while count is None or seed < start + count:
        drawn = sample(seed, split, kinds=kinds)
        yield {"messages": messages(drawn), "images": drawn.images}
        seed += 1


def write(
    folder: str | os.PathLike[str],
    split: str,
    start: int,
    count: int,
    *,
    kinds: Mapping[str, float] = KINDS,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Writes rows as `rows.jsonl` with the pictures as PNG files; goes on after a stop.

    Pictures are written before their row, so every row that is there is whole; a last row without
    its line end is written again. Rows hold "seed", "split" and, if they are not the default ones,
    "kinds" besides "messages" and "images".

    Args:
        folder: Where to write; made if it is missing.
        split: "train" or "heldout".
        start: The seed of the first row.
        count: How many rows there shall be in all.
        kinds: The weight of each kind of picture.
        progress: Called with the number of rows that are there.

    Returns:
        How many rows were written now.

    Raises:
        InputError: the folder holds rows of another split, of other seeds or kinds, or is a file.
    """
    base = pathlib.Path(folder)
    if base.exists() and not base.is_dir():
        raise InputError(f"{str(base)!r} is a file: name a folder to write the pictures to.")
    pictures = base / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    origin: dict[str, Any] = {"split": split}
    if kinds != KINDS:
        origin["kinds"] = dict(kinds)
    done = _rows_there(base / ROWS, origin, start)
    progress(done)
    with (base / ROWS).open("a", encoding="utf-8") as file:
        for seed in range(start + done, start + count):
            drawn = sample(seed, split, kinds=kinds)
            row = {
                "messages": messages(drawn),
                "images": _save(drawn, pictures, f"{split}-{seed:08d}"),
                **origin,
                "seed": seed,
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            progress(seed - start + 1)
    return max(0, count - done)


def _save(drawn: Sample, folder: pathlib.Path, stem: str) -> list[str]:
    """Writes the pictures of a sample; returns their paths relative to the folder of the rows."""
    ends = [""] if len(drawn.images) == 1 else [f"-{i + 1}" for i in range(len(drawn.images))]
    for image, end in zip(drawn.images, ends, strict=True):
        image.save(folder / f"{stem}{end}.png")
    return [f"{folder.name}/{stem}{end}.png" for end in ends]


def _rows_there(path: pathlib.Path, origin: dict[str, Any], start: int) -> int:
    """How many whole rows a file holds; a row that was cut off is taken away."""
    if not path.exists():
        return 0
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    lines = whole.splitlines()
    if lines:
        _check_first(_origin(lines[0], path), path, {**origin, "seed": start})
        if _origin(lines[-1], path) != {**origin, "seed": start + len(lines) - 1}:
            raise InputError(
                f"The {len(lines)} rows of {str(path)!r} are not those of {len(lines)} seeds in "
                "turn: write to an empty folder."
            )
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    return len(lines)


def _origin(line: bytes, path: pathlib.Path) -> dict[str, Any]:
    """What a row says it was made with."""
    try:
        row = json.loads(line)
        kinds = {"kinds": row["kinds"]} if "kinds" in row else {}
        return {"split": row["split"], "seed": row["seed"], **kinds}
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(
            f"{str(path)!r} holds rows that were not rendered: write to an empty folder."
        ) from error


def _check_first(found: dict[str, Any], path: pathlib.Path, origin: dict[str, Any]) -> None:
    """Refuse to go on with rows that were made with something else."""
    names = [name for name in ("split", "kinds", "seed") if found.get(name) != origin.get(name)]
    if names:
        was, wanted = (
            " ".join(_option(name, of.get(name)) for name in names) for of in (found, origin)
        )
        raise InputError(
            f"{str(path)!r} was made with {was}; this call says {wanted}: say the same, or write "
            "to an empty folder."
        )


def _option(name: str, value: object) -> str:
    """How a property of rows is spelt on the command line."""
    if name != "kinds":
        return f"--{name} {value}"
    if not isinstance(value, dict):
        return "no --pictures"
    weights = {kind: str(weight).removesuffix(".0") for kind, weight in value.items()}
    return " ".join(f"--pictures {kind}={weight}" for kind, weight in weights.items())
