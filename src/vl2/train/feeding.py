"""From a recipe's data to the rows of its batches, on one device or many."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from vl2.errors import InputError
from vl2.model.configuration import DeepseekVLV2Config
from vl2.model.sizes import model_sizes
from vl2.processing.processor import DeepseekVLV2Processor
from vl2.train.data import Encoder, Indexed, Row, Skipped
from vl2.train.measure import Measurer, Sizes, measure, measure_again
from vl2.train.order import Mixture
from vl2.train.packing import Cost, Packing, deal, level
from vl2.train.ranks import device_count, is_first, wait_for_all
from vl2.train.recipe import Recipe
from vl2.train.rows import JsonRows, Lesson, Rows
from vl2.train.shards import TarRows, find_shards
from vl2.train.skipping import SkippedRows, numbers_named

SIZES_NAME = "sizes.npz"
_RENDERED = "synth"


def open_rows(path: Path, root: Path | None = None) -> Rows:
    """The rows of a JSONL file, of a tar shard, or of a folder of shards.

    Args:
        path: of them.
        root: folder of the pictures that a JSONL file names; None for its own.

    Raises:
        InputError: there are none.
    """
    if path.is_dir():
        return TarRows(find_shards(path))
    if path.suffix == ".tar":
        return TarRows([path])
    return JsonRows(path, root)


def open_mixture(recipe: Recipe) -> Mixture:
    """All data of a recipe, in the order in which it is learnt from.

    Raises:
        InputError: there is none, or it cannot be mixed.
    """
    weights = {recipe.data: 1.0} if isinstance(recipe.data, str) else recipe.data
    if not weights:
        raise InputError("The recipe names no data: give it the path of a JSONL file.")
    if _RENDERED in weights:
        raise InputError(
            f"In the recipe, data names {_RENDERED!r} with a weight, but pictures that are "
            f"rendered while training cannot be mixed with files: set data to {_RENDERED} alone, "
            f"or write them down first (vl2 synth --out FOLDER) and name FOLDER/rows.jsonl."
        )
    root = Path(recipe.pictures_root) if recipe.pictures_root else None
    parts = [open_rows(Path(path), root) for path in weights]
    return Mixture(parts, list(weights.values()), recipe.seed)


def part_names(recipe: Recipe) -> tuple[str, ...]:
    """Short names of the parts of a mixture, in order; none if there is only one.

    Parts whose files have the same name are told apart by their folders: `a/train`, `b/train`.
    """
    if isinstance(recipe.data, str) or len(recipe.data) < 2:
        return ()
    paths = [Path(path) for path in recipe.data]
    return tuple(_short_name(path, [other for other in paths if other != path]) for path in paths)


def _short_name(path: Path, others: list[Path]) -> str:
    """The end of a path, as short as no other ends the same; without the ending of a file."""
    for spelled in (_without_ending, Path):  # a.jsonl and a.tar differ in nothing else
        mine, theirs = spelled(path).parts, [spelled(other).parts for other in others]
        for length in range(1, max(map(len, (mine, *theirs))) + 1):
            if mine[-length:] not in [parts[-length:] for parts in theirs]:
                return Path(*mine[-length:]).as_posix()
    return path.as_posix()


def _without_ending(path: Path) -> Path:
    return path if path.is_dir() else path.with_suffix("")


def rendered_rows(
    lesson: Callable[[int], Lesson], processor: DeepseekVLV2Processor, recipe: Recipe
) -> Dataset[Row]:
    """A row for each lesson of an endless source."""
    encode = Encoder(processor, recipe)
    count = recipe.steps * rows_of_a_step(recipe)
    return Indexed(lambda index: [encode(lesson, index)], count)


def rows_of_a_step(recipe: Recipe) -> int:
    """Rows of an optimizer step, all devices together."""
    devices = device_count()
    return recipe.passes(devices) * recipe.batch_size * devices


def mixed_rows(
    mixture: Mixture,
    processor: DeepseekVLV2Processor,
    recipe: Recipe,
    config: DeepseekVLV2Config,
    folder: Path,
    skipped: SkippedRows,
) -> Dataset[Row]:
    """The rows of a mixture of files, packed if the recipe says so, levelled, dealt to devices.

    All three need to know how long rows are; then all are measured first, once for a run.

    Args:
        mixture: the data.
        processor: of the model.
        recipe: says what a row holds.
        config: of the model; what tokens and tiles cost.
        folder: of the run, which keeps the sizes.
        skipped: takes the rows that cannot be learnt from.

    Raises:
        InputError: more rows than the recipe allows cannot be learnt from.
    """
    encode, count = Encoder(processor, recipe), recipe.steps * rows_of_a_step(recipe)
    placed = device_count() > 1 or recipe.level_steps > 1
    if not recipe.packing and not placed:
        _begin(skipped, mixture, encode)
        return Indexed(lambda index: [encode(mixture, index)], count)
    measurer = Measurer(mixture.row, len(mixture), processor, recipe)
    sizes = _kept_sizes(measurer, recipe, folder)
    _begin(skipped, mixture, encode, sizes)
    cost = Cost.of(model_sizes(config))
    if recipe.packing:
        packing = Packing(mixture.number, sizes, recipe.max_tokens, cost)
        documents, size = packing.row, packing.size
    else:
        documents, size = _singles(mixture, sizes)
    if placed:
        documents = _Dealt(recipe, documents, size, cost)

    def row(index: int) -> Row:
        return [encode(mixture.row, number) for number in documents(index)]

    return Indexed(row, count)


def _begin(
    skipped: SkippedRows, mixture: Mixture, encode: Encoder, sizes: Sizes | None = None
) -> None:
    """Begin the list of skipped rows with those that cannot be learnt from now.

    They are those that measuring has found, and those that an earlier start met while it trained
    and that are still broken.
    """
    reasons = list(sizes.reasons) if sizes else []
    earlier = set(skipped.reasons).difference(reasons)
    if earlier and is_first():
        usable = range(len(mixture)) if sizes is None else np.flatnonzero(sizes.tokens).tolist()
        names = ((number, mixture.name(number)) for number in usable)
        again = [encode(mixture.row, number) for number in numbers_named(earlier, names)]
        reasons += [found.reason for found in again if isinstance(found, Skipped)]
    skipped.begin(reasons)


def _singles(
    mixture: Mixture, sizes: Sizes
) -> tuple[Callable[[int], tuple[int, ...]], Callable[[int], tuple[int, int]]]:
    def documents(index: int) -> tuple[int, ...]:
        return (mixture.number(index),)

    def size(index: int) -> tuple[int, int]:
        number = mixture.number(index)
        return int(sizes.tokens[number]), int(sizes.tiles[number])

    return documents, size


class _Dealt:
    """The documents of the row at a place of the reading order.

    The rows of the steps that are levelled together are asked for once, in their sequence, and
    kept until others are read.
    """

    def __init__(
        self,
        recipe: Recipe,
        documents: Callable[[int], tuple[int, ...]],
        size: Callable[[int], tuple[int, int]],
        cost: Cost,
    ) -> None:
        self._recipe = recipe
        self._rows = rows_of_a_step(recipe)
        self._documents = documents
        self._size = size
        self._cost = cost
        self._known: tuple[int, list[tuple[int, ...]]] | None = None

    def __call__(self, index: int) -> tuple[int, ...]:
        window, place = divmod(index, self._rows * self._recipe.level_steps)
        if self._known is None or self._known[0] != window:
            self._known = (window, self._order(window))
        return self._known[1][place]

    def _order(self, window: int) -> list[tuple[int, ...]]:
        """The rows of the steps that are levelled together, in reading order."""
        steps = self._recipe.level_steps
        first, count = window * steps * self._rows, steps * self._rows
        rows = [(self._documents(row), self._size(row)) for row in range(first, first + count)]
        tokens, tiles = np.array([size for _, size in rows]).T
        costs, places = self._cost(tokens, tiles), np.arange(count)
        if steps > 1:
            places = np.array(level(costs.tolist(), steps, self._recipe.seed, window))
        order = []
        for of_step in np.split(places, steps):
            dealt = deal(costs[of_step].tolist(), device_count(), self._recipe.batch_size)
            order += [rows[place][0] for place in of_step[dealt]]
        return order


def _kept_sizes(measurer: Measurer, recipe: Recipe, folder: Path) -> Sizes:
    """The sizes of all rows, measured by the first process and kept in the folder of the run.

    Rows that could not be used when they were measured are measured again at each start: their
    pictures may have been mended, which the data's files do not show.
    """
    file, print_ = folder / SIZES_NAME, _fingerprint(measurer, recipe)
    if is_first():
        kept, of = _read(file) if file.is_file() else (None, "")
        if kept is None or of != print_:
            _write(file, measure(measurer, recipe.workers), print_)
        elif (mended := measure_again(measurer, kept, recipe.workers)) is not kept:
            _write(file, mended, print_)
    wait_for_all()
    return _read(file)[0]


def _write(file: Path, sizes: Sizes, print_: str) -> None:
    written = file.with_suffix(".part.npz")
    reasons = json.dumps(sizes.reasons)
    np.savez(written, tokens=sizes.tokens, tiles=sizes.tiles, reasons=reasons, of=print_)
    written.replace(file)


def _read(file: Path) -> tuple[Sizes, str]:
    with np.load(file, allow_pickle=False) as kept:
        reasons = tuple(json.loads(str(kept["reasons"])))
        return Sizes(kept["tokens"], kept["tiles"], reasons), str(kept["of"])


def _fingerprint(measurer: Measurer, recipe: Recipe) -> str:
    """What the sizes depend on: the files, what fits into a row, the tokenizer."""
    paths = [recipe.data] if isinstance(recipe.data, str) else list(recipe.data)
    files = [
        file
        for path in map(Path, paths)
        for file in (find_shards(path) if path.is_dir() else [path])
    ]
    stamps = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    settings = (len(measurer), recipe.max_tokens, recipe.max_tiles, recipe.mask_prompt)
    told = json.dumps([stamps, settings, measurer.vocabulary_size])
    return hashlib.sha256(told.encode()).hexdigest()
