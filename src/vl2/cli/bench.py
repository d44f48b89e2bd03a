"""`vl2 bench`: how fast a model runs here, beside what the machine could do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from vl2.cli import options, terminal
from vl2.errors import InputError

if TYPE_CHECKING:
    from vl2.evals.speed.machine import Machine
    from vl2.evals.speed.measure import Rate, Report
    from vl2.model.modeling import DeepseekVLV2ForCausalLM
    from vl2.processing.processor import DeepseekVLV2Processor

_LABEL = 9
"""Columns of what stands before a line of text."""


def command(
    model: options.GivenModel = "nano",
    random: Annotated[
        bool,
        typer.Option(
            "--random", help="Random weights in the shape of tiny, small or base: no download."
        ),
    ] = False,
    quantize: Annotated[
        str | None, typer.Option(metavar="NAME", help="int8 or int4: quantise the weights first.")
    ] = None,
    group_size: options.GroupSize = None,
    prompt: Annotated[
        int, typer.Option(metavar="N", min=1, help="Tokens of the prompt of text.")
    ] = 600,
    tokens: Annotated[int, typer.Option(metavar="N", min=2, help="Tokens of the answer.")] = 32,
    runs: Annotated[
        int, typer.Option(metavar="N", min=1, help="How often each piece is timed.")
    ] = 3,
    as_json: options.AsJson = False,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Time a model, and put its speed beside the ceilings of the machine.

    The share says how much of what the memory (for answers) or the arithmetic units (for prompts
    and pictures) could do is reached. Leave the machine alone meanwhile.
    """
    from rich.console import Console

    from vl2.engine.placement import choose_device
    from vl2.evals.speed.machine import measure_machine
    from vl2.evals.speed.measure import measure
    from vl2.quantization.packing import pack

    terminal.hush()
    with Console(stderr=True).status("measuring the machine") as status:
        # Before the model is there: what is read to measure memory needs room beside it.
        machine = measure_machine(choose_device(device))
        status.update("loading")
        loaded, processor = _load(model, random, (quantize, group_size), device, dtype)
        report = measure(
            pack(loaded),
            processor,
            machine,
            prompt,
            tokens,
            runs,
            lambda piece: status.update(f"timing {piece}"),
        )
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "model": model,
                    "random": random,
                    "quantize": quantize,
                    "group_size": group_size,
                    "device": str(loaded.device),
                    "dtype": str(loaded.dtype).removeprefix("torch."),
                    "prompt_tokens": prompt,
                    "machine": machine.as_dict(),
                    **report.as_dict(),
                },
                indent=2,
            )
        )
    else:
        _show(_described(model, loaded, report, quantize), machine, report)


def _load(
    name: str, random: bool, stored: tuple[str | None, int | None], device: str, dtype: str
) -> tuple[DeepseekVLV2ForCausalLM, DeepseekVLV2Processor]:
    from vl2.engine.loading import load_parts
    from vl2.engine.placement import SMALL_MODEL_BYTES, choose_device, choose_dtype
    from vl2.engine.sources import RELEASES
    from vl2.evals.speed.shapes import processor_for, random_model
    from vl2.model.released import released_config
    from vl2.quantization.plan import plan_of

    if not random:
        return load_parts(name, device, dtype, *stored)
    if name not in RELEASES:
        raise InputError.unknown("released shape", name, RELEASES)
    place = choose_device(device)
    config = released_config(name)
    processor = processor_for(config)
    precision = choose_dtype(dtype, place, SMALL_MODEL_BYTES)
    plan = plan_of(*stored)
    model = random_model(config, precision, plan)
    return model.to(place), processor  # pyrefly: ignore[bad-argument-type]


def _show(described: str, machine: Machine, report: Report) -> None:
    from rich import box
    from rich.table import Table

    from vl2.cli.info import byte_size, operations

    peaks = ", ".join(f"{operations(at)}/s in {kind}" for kind, at in machine.operations.items())
    threads = f"{machine.threads} thread{'' if machine.threads == 1 else 's'}"
    reads = f"{threads}, reads {byte_size(machine.read_bytes)}/s, {peaks}"
    for label, text in (("model", described), ("machine", reads)):
        typer.echo(f"{label:{_LABEL}}{terminal.wrapped(text, _LABEL)}")
    table = Table("", "time", "rate", "at the ceiling", "share", box=box.SIMPLE_HEAD)
    for what, unit, rate in (
        ("prompt", "tokens/s", report.prefill),
        ("answer", "tokens/s", report.decode),
        ("tile", "tiles/s", report.tile),
        ("page to first token", "", report.page),
    ):
        table.add_row(what, *_cells(unit, rate))
    terminal.show_blocks(table)


def _described(
    name: str, model: DeepseekVLV2ForCausalLM, report: Report, quantize: str | None
) -> str:
    """What was timed: where, in what precision, how large, and what multiplies."""
    from vl2.cli.info import byte_size

    dtype = str(model.dtype).removeprefix("torch.")
    size = f"{byte_size(report.weight_bytes)} of weights"
    stored = getattr(model.config, "quantization_config", None)
    scheme = quantize or getattr(stored, "name", None)
    if scheme is None:
        return f"{name} on {model.device} in {dtype}, {size}"
    return (
        f"{name} on {model.device}, {size}: {scheme}, multiplied by {report.kernels}; "
        f"the rest in {dtype}"
    )


def _spaced(rate: float) -> str:
    """A rate to three figures: `0.132`, `75.7`, `7 570`."""
    rounded = float(f"{rate:.3g}")
    return f"{rounded:,.0f}".replace(",", " ") if rounded >= 100 else f"{rounded:.3g}"


def _cells(unit: str, rate: Rate) -> tuple[str, str, str, str]:
    pace = f"{_spaced(rate.per_second)} {unit}" if unit else ""
    if rate.floor is None or rate.share is None:
        return _seconds(rate.seconds), pace, "", ""
    return _seconds(rate.seconds), pace, _seconds(rate.floor), f"{100 * rate.share:.0f} %"


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"
