"""Reckons what pretraining the base model takes on 8, 64 and 512 GPUs; nothing is run on one.

    python benchmarks/training_plan.py

prints the tables of docs/guide/training.md. Memory and traffic are those of `vl2 train --plan`. The
balance is that of a mixture drawn from a seed: 30 % text alone, else one to three pictures of any
shape between 200 and 2000 pixels with some text (paper, section 4.1), packed and dealt as training
does it, beside rows that are filled and handed out as they come. The last tables are for devices
that have only one row of a step each, with and without `level_steps`, and for rows not packed.
"""

from __future__ import annotations

import itertools

import numpy as np

from vl2.model.released import released_config
from vl2.model.sizes import model_sizes
from vl2.processing.tiling import Tiling
from vl2.train.measure import Sizes
from vl2.train.packing import Cost, Packing, deal, level, slowest_over_mean
from vl2.train.plan import make_plan
from vl2.train.recipe import load_recipe

LAYOUTS = (
    (8, ("ep_size=8",)),
    (64, ("ep_size=8", "global_batch_size=3328")),
    (512, ("ep_size=8", "replicas=8", "global_batch_size=3584")),
)
"""Devices, and what the recipe is told: rows of a step must be a multiple of the devices."""

CONTEXT, DOCUMENTS = 4096, 20_000


def mixture() -> Sizes:
    """Tokens and tiles of the documents of the mixture; those that are too long have none."""
    random, tiling = np.random.default_rng(0), Tiling()
    tokens, tiles = np.zeros((2, DOCUMENTS), dtype=np.int64)
    for row in range(DOCUMENTS):
        if random.random() < 0.3:
            tokens[row] = np.clip(random.lognormal(6, 1), 16, CONTEXT)
            continue
        pictures = int(random.choice([1, 1, 1, 1, 2, 3]))
        for _ in range(pictures):
            width, height = (int(side) for side in random.uniform(200, 2000, 2))
            grid = tiling.grid(width, height, tiled=pictures <= 2)
            tokens[row] += tiling.tokens(grid)
            tiles[row] += grid.n_tiles
        tokens[row] += int(np.clip(random.lognormal(5, 0.8), 8, 1500))
    fits = tokens <= CONTEXT
    return Sizes(tokens * fits, tiles * fits, ())


def naive_rows(sizes: Sizes, count: int) -> list[tuple[int, int]]:
    """Rows filled with documents as they come."""
    rows: list[tuple[int, int]] = []
    tokens = tiles = number = 0
    while len(rows) < count:
        document = number % DOCUMENTS
        number += 1
        if tokens + sizes.tokens[document] > CONTEXT:
            rows.append((tokens, tiles))
            tokens = tiles = 0
        tokens += int(sizes.tokens[document])
        tiles += int(sizes.tiles[document])
    return rows


def balance(sizes: Sizes, cost: Cost, devices: int, rows: int) -> tuple[float, float, float, float]:
    """Slowest over mean and share of filled places: naive, then as training does it."""
    packing = Packing(lambda index: index % DOCUMENTS, sizes, CONTEXT, cost)
    found = []
    for packed in (naive_rows(sizes, rows), [packing.size(row) for row in range(rows)]):
        tokens, tiles = np.array(packed).T
        costs = cost(tokens, tiles).tolist()
        order = range(rows) if not found else deal(costs, devices, 1)
        found += [slowest_over_mean([costs[row] for row in order], devices, 1)]
        found += [float(tokens.mean()) / CONTEXT]
    return found[0], found[1], found[2], found[3]


def single_rows(sizes: Sizes) -> str:
    """Slowest over mean where each device has one row of a step, as a table in Markdown."""
    told = [
        "| GPUs, one row each | naive | ours | ours, `level_steps=8` |",
        "|---:|---:|---:|---:|",
    ]
    for shape, devices in itertools.product(("tiny", "base"), (64, 512)):
        cost, rows = Cost.of(model_sizes(released_config(shape))), 8 * devices
        packing = Packing(lambda index: index % DOCUMENTS, sizes, CONTEXT, cost)
        naive = cost(*np.array(naive_rows(sizes, rows)).T).tolist()
        ours = cost(*np.array([packing.size(row) for row in range(rows)]).T).tolist()
        levelled = [ours[row] for row in level(ours, 8, 0)]
        values = (slowest_over_mean(costs, devices, 1) for costs in (naive, ours, levelled))
        told.append(f"| {devices}, {shape} | {' | '.join(f'{value:.2f}' for value in values)} |")
    return "\n".join(told)


def unpacked_rows(sizes: Sizes) -> str:
    """Slowest over mean of 256 conversations, each a row of its own, as a table in Markdown."""
    cost, some = Cost.of(model_sizes(released_config("base"))), np.flatnonzero(sizes.tokens)[:256]
    costs = cost(sizes.tokens[some], sizes.tiles[some]).tolist()
    told = ["| GPUs, 256 rows not packed | naive | ours |", "|---:|---:|---:|"]
    for devices in (8, 32, 64):
        dealt = [costs[row] for row in deal(costs, devices, 1)]
        naive, ours = (slowest_over_mean(found, devices, 1) for found in (costs, dealt))
        told.append(f"| {devices}, base | {naive:.2f} | {ours:.2f} |")
    return "\n".join(told)


def tables() -> str:
    """The tables, in Markdown."""
    config, sizes = released_config("base"), mixture()
    cost = Cost.of(model_sizes(config))
    memory = [
        "| GPUs | settings | passes | weights | gradients | optimizer | copies | activations "
        "| total |"
    ]
    memory += ["|---:|---|---:|---:|---:|---:|---:|---:|---:|"]
    traffic = ["| GPUs | weights | gradients | tokens to experts |", "|---:|---:|---:|---:|"]
    even = [
        "| GPUs | naive: slowest rank over mean | filled | ours | filled |",
        "|---:|---:|---:|---:|---:|",
    ]
    for devices, settings in LAYOUTS:
        plan = make_plan(load_recipe("base-pretrain", settings), config, devices, gpu=True)
        parts = ("weights", "gradients", "optimizer", "copies", "activations", "total")
        values = " | ".join(f"{getattr(plan.memory, part) / 1e9:.1f}" for part in parts)
        told = ", ".join(f"`{setting}`" for setting in settings)
        memory.append(f"| {devices} | {told} | {plan.passes} | {values} |")
        each = (plan.traffic.weights, plan.traffic.gradients, plan.traffic.tokens)
        values = " | ".join(f"{value / plan.passes / 1e9:.1f}" for value in each)
        traffic.append(f"| {devices} | {values} |")
        naive, loose, ours, filled = balance(sizes, cost, devices, plan.rows)
        even.append(f"| {devices} | {naive:.2f} | {loose:.0%} | {ours:.3f} | {filled:.0%} |")
    planned = ("\n".join(table) for table in (memory, traffic, even))
    return "\n\n".join([*planned, single_rows(sizes), unpacked_rows(sizes)])


if __name__ == "__main__":
    print(tables())  # noqa: T201 - a script
