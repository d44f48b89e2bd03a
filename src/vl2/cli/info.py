"""`vl2 info`: what a model is made of and what it costs to run, from its configuration alone."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vl2.cli import terminal
from vl2.errors import CheckpointError, did_you_mean

if TYPE_CHECKING:
    from rich.console import RenderableType

    from vl2.model.configuration import DeepseekVLV2Config
    from vl2.processing.tiling import Tiling

PICTURE_SIZES = (
    ("photograph", 640, 480),
    ("screen", 1920, 1080),
    ("A4 page at 150 dpi", 1240, 1754),
    ("receipt", 800, 2300),
    ("banner", 3000, 400),
)
BAR_WIDTH = 28
COARSE_GROUP = 64
"""Columns of a group that fit where those of `int4` do not."""
COARSE = f"int4/{COARSE_GROUP}"
PLAN_PARTS = ("weights", "runtime", "working", "pictures", "cache")

_KERNELS = {"torch": "none compiled: torch multiplies by quantised weights"}


def command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="nano, tiny, small, base, or a folder with a config.json."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    memory: Annotated[
        bool,
        typer.Option("--memory", help="Only how much memory it takes, by precision, and for what."),
    ] = False,
) -> None:
    """Show what a model is made of and what it costs to run.

    Only the configuration is read: the released models need not be downloaded.
    """
    from vl2.ops.kernels.library import instruction_set
    from vl2.processing.tiling import Tiling

    config = _config(model)
    if memory:
        plans = memory_plans(model, config)
        typer.echo(json.dumps(plans, indent=2)) if as_json else show_plans(plans)
        return
    tiling = Tiling.from_candidates(
        config.candidate_resolutions,
        config.vision_config.patch_size,
        config.projector_config.downsample_ratio,
    )
    report = describe(model, config, tiling) | {"kernels": instruction_set()}
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        show(report)


def _config(model: str) -> "DeepseekVLV2Config":
    from vl2.engine.sources import EMBEDDED, RELEASES, find_checkpoint
    from vl2.model.loading import load_config
    from vl2.model.released import released_config

    if model in RELEASES:
        return released_config(model)
    if model != EMBEDDED and not terminal.exists(model):
        raise CheckpointError(
            f"There is no model {model!r}.{did_you_mean(model, (EMBEDDED, *RELEASES))} Use "
            f"{EMBEDDED}, {', '.join(RELEASES)}, or a folder that holds a config.json."
        )
    return load_config(find_checkpoint(model))


def describe(model: str, config: "DeepseekVLV2Config", tiling: "Tiling") -> dict[str, Any]:
    """Everything the verb tells, as numbers: bytes, operations and parameters, not rounded."""
    from vl2.model.sizes import PRECISIONS, model_sizes

    sizes = model_sizes(config)
    quantization = _quantization(config)
    weights = _stored_bytes(config) if quantization else {}
    return {
        "model": model,
        "attention": sizes.attention,
        "experts": sizes.experts,
        "layers": sizes.layers,
        "context": sizes.context,
        "quantization": quantization,
        "parameters": {
            "total": sizes.total,
            "active": sizes.active,
            "active_language": sizes.active_language,
            "parts": [
                {"name": part.name, "total": part.total, "active": part.active}
                for part in sizes.parts
            ],
        },
        "memory": {
            precision: {
                "weights": weights.get(precision, width * sizes.total),
                "cache_per_token": width * sizes.cache_values_per_token,
                "cache_full_context": width * sizes.cache_values_per_token * sizes.context,
                "plain_cache_per_token": width * sizes.plain_cache_values_per_token,
            }
            for precision, width in PRECISIONS.items()
        },
        "compute": {
            "flops_per_token": sizes.flops_per_token,
            "flops_per_context_token": sizes.flops_per_context_token,
            "dense_flops_per_token": sizes.dense_flops_per_token,
            "flops_per_tile": sizes.flops_per_tile,
        },
        "pictures": [
            _picture(tiling, "one tile", tiling.tile_size, tiling.tile_size),
            *(_picture(tiling, *picture) for picture in PICTURE_SIZES),
        ],
    }


def _quantization(config: "DeepseekVLV2Config") -> dict[str, Any] | None:
    """How the weights of a quantised checkpoint are stored; None for another one."""
    from vl2.quantization.plan import VL2QuantizationConfig

    plan = VL2QuantizationConfig.of(config)
    if plan is None:
        return None
    return {"scheme": plan.name, "bits": dict(plan.bits), "group_size": plan.group_size}


def _stored_bytes(config: "DeepseekVLV2Config") -> dict[str, int]:
    """Bytes of a quantised checkpoint's weights by the precision of those that are not."""
    import torch

    from vl2.engine.memory import weight_bytes
    from vl2.model.sizes import PRECISIONS

    return {name: weight_bytes(config, getattr(torch, name)) for name in PRECISIONS}


def memory_plans(model: str, config: "DeepseekVLV2Config") -> dict[str, Any]:
    """What loading the model takes on the CPU in each precision, in bytes, by what it is for."""
    import torch

    from vl2.engine.memory import least_bytes, plan_memory
    from vl2.quantization.plan import SCHEMES, VL2QuantizationConfig

    dtypes: dict[str, tuple[torch.dtype, VL2QuantizationConfig | None]] = {
        "float32": (torch.float32, None),
        "bfloat16": (torch.bfloat16, None),
    }
    if getattr(config, "quantization_config", None) is None:
        for scheme in SCHEMES:
            dtypes[scheme] = (torch.bfloat16, VL2QuantizationConfig.named(scheme))
        coarse = VL2QuantizationConfig.named("int4", COARSE_GROUP)
        dtypes[COARSE] = (torch.bfloat16, coarse)
    plans = {}
    for name, (dtype, quantization) in dtypes.items():
        plan = plan_memory(config, dtype, torch.device("cpu"), quantization=quantization)
        parts = {part: getattr(plan, part) for part in PLAN_PARTS}
        least = least_bytes(config, dtype, plan)
        plans[name] = {**parts, "total": plan.total, "least": least}
    return {"model": model, "plans": plans}


def show_plans(report: dict[str, Any]) -> None:
    """Draws the plans on standard output."""
    plans = report["plans"]
    table = _table(f"Memory of {report['model']} on the CPU", "", *plans)
    for part in (*PLAN_PARTS, "total", "least"):
        table.add_row(part, *(byte_size(plan[part]) for plan in plans.values()))
    legend = (
        "runtime: Python and torch; working: the largest step; pictures: encoded ones that are "
        "kept; cache: four full contexts. least: the smallest --memory it can be loaded with."
        + (f" {COARSE}: int4 with --group-size {COARSE_GROUP}." if COARSE in plans else "")
    )
    terminal.show_blocks(table)
    typer.echo(f"\n{terminal.wrapped(legend)}")


def _picture(tiling: "Tiling", name: str, width: int, height: int) -> dict[str, Any]:
    grid = tiling.grid(width, height)
    alone = tiling.grid(width, height, tiled=False)
    return {
        "name": name,
        "width": width,
        "height": height,
        "columns": grid.columns,
        "rows": grid.rows,
        "tiles": grid.n_tiles,
        "tokens": tiling.tokens(grid),
        "tokens_untiled": tiling.tokens(alone),
    }


def show(report: dict[str, Any]) -> None:
    """Draws the report on standard output."""
    terminal.show_blocks(*_blocks(report))


def _blocks(report: dict[str, Any]) -> Iterator["RenderableType"]:
    parameters = report["parameters"]
    yield _facts(report)
    yield _parts_table(parameters)
    yield _memory_table(report["memory"])
    yield _compute_table(report)
    yield _pictures_table(report["pictures"])


def _facts(report: dict[str, Any]) -> "RenderableType":
    from rich.table import Table

    parameters = report["parameters"]
    unit = _unit(parameters["total"])
    total, active, language = (
        figures(parameters[key], unit) for key in ("total", "active", "active_language")
    )
    grid = Table.grid(padding=(0, 2))
    grid.add_row("model", report["model"])
    grid.add_row("attention", report["attention"])
    grid.add_row("experts", report["experts"])
    grid.add_row("layers", f"{report['layers']}, a context of {report['context']} tokens")
    grid.add_row(
        "parameters", f"{total}, {active} of them active, {language} in the language model"
    )
    if quantization := report["quantization"]:
        bits = ", ".join(f"{part} {count}" for part, count in quantization["bits"].items())
        grid.add_row("weights", f"{quantization['scheme']}; bits: {bits}")
    grid.add_row("kernels", _KERNELS.get(report["kernels"], report["kernels"]))
    return grid


def _table(title: str, *columns: str) -> Any:  # noqa: ANN401 - rich is imported late
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    return table


def _parts_table(parameters: dict[str, Any]) -> "RenderableType":
    table = _table("Where the parameters are", "part", "total", "active")
    table.add_column("█ active  ░ at rest", no_wrap=True)
    largest = max(part["total"] for part in parameters["parts"])
    for part in parameters["parts"]:
        total, active = part["total"], part["active"]
        bar = _bar(min(active, total) / largest, total / largest)
        table.add_row(part["name"], short_count(total), short_count(active), bar)
    return table


def _bar(active: float, total: float) -> str:
    filled = round(active * BAR_WIDTH)
    return "█" * filled + "░" * (round(total * BAR_WIDTH) - filled)


def _memory_table(memory: dict[str, dict[str, int]]) -> "RenderableType":
    table = _table("Memory", "precision", "weights", "cache per token", "cache, context full")
    for precision, needs in memory.items():
        table.add_row(
            precision,
            byte_size(needs["weights"]),
            byte_size(needs["cache_per_token"]),
            byte_size(needs["cache_full_context"]),
        )
    return table


def _compute_table(report: dict[str, Any]) -> "RenderableType":
    compute, memory = report["compute"], report["memory"]["bfloat16"]
    table = _table("Beside plainer designs", "cost of one token", "")
    table.add_column("", no_wrap=True)
    for name, ours, plainer, theirs, spell in (
        (
            "compute",
            compute["flops_per_token"],
            "dense model of this size",
            compute["dense_flops_per_token"],
            operations,
        ),
        (
            "cache in bfloat16",
            memory["cache_per_token"],
            "multi-head attention",
            memory["plain_cache_per_token"],
            byte_size,
        ),
    ):
        table.add_row(name, spell(ours), _bar(ours / theirs, ours / theirs))
        table.add_row(f"  {plainer}", spell(theirs), f"{_bar(1, 1)} {theirs / ours:.1f} x")
    table.caption_justify = "left"
    table.caption = (
        f"Every token of context adds {operations(compute['flops_per_context_token'])}; "
        f"a tile of a picture costs {operations(compute['flops_per_tile'])}, once."
    )
    return table


def _pictures_table(pictures: list[dict[str, Any]]) -> "RenderableType":
    table = _table(
        "Tokens of a picture", "picture", "pixels", "grid", "tiles", "tokens", "one of 3 or more"
    )
    for picture in pictures:
        table.add_row(
            picture["name"],
            f"{picture['width']} x {picture['height']}",
            f"{picture['columns']} x {picture['rows']}",
            str(picture["tiles"]),
            str(picture["tokens"]),
            str(picture["tokens_untiled"]),
        )
    return table


def _unit(count: int) -> str:
    return "B" if count >= 1e9 else "M"


def figures(count: float, unit: str) -> str:
    """A count to three figures: 3373000000 in billions (`B`) or millions (`M`) is `3.37 B`."""
    scaled = count / {"B": 1e9, "M": 1e6}[unit]
    return f"{scaled:#.3g}".rstrip(".") + f" {unit}"


def short_count(count: float) -> str:
    """A count of parameters to three figures in its own unit: `413 M`."""
    return _scaled(count, ("", "k", "M", "B"))


def byte_size(count: float) -> str:
    """Bytes to three figures, in steps of 1000: `6.75 GB`."""
    return _scaled(count, ("B", "kB", "MB", "GB", "TB"))


def operations(count: float) -> str:
    """Floating-point operations to three figures: `1.15 GFLOP`."""
    return _scaled(count, ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"))


def _scaled(count: float, units: tuple[str, ...]) -> str:
    step = 0
    while count >= 999.5 and step < len(units) - 1:
        count /= 1000
        step += 1
    text = f"{count:#.3g}".rstrip(".") if step else str(round(count))
    return f"{text} {units[step]}".rstrip()
