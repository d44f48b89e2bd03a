"""`vl2 quantize`: a smaller copy of a checkpoint, with weights in 8 or 4 bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vl2.cli import options, terminal
from vl2.cli.counting import counting
from vl2.errors import InputError

if TYPE_CHECKING:
    import torch

    from vl2.quantization.plan import VL2QuantizationConfig

_KEPT = 16
_QUESTION = "Describe the picture in detail."
_ANSWER_TOKENS = 64


def command(
    source: options.GivenModel,
    target: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to make.")],
    scheme: Annotated[str, typer.Option(metavar="NAME", help="int8 or int4.")] = "int4",
    group_size: options.GroupSize = None,
    bits: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART=N",
            help="Store a part of the model in other bits: --bits attention=8; 16 keeps it as it "
            "is. Repeatable.",
        ),
    ] = None,
    calibrate: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PICTURE",
            help="Choose scales by what matters for this picture. Repeatable; a few are enough. "
            "Needs the memory to run the model as it is.",
        ),
    ] = None,
) -> None:
    """Write a copy of a model with weights in 8 or 4 bits.

    The new folder can be named wherever a model that answers is asked for. Memory holds one
    tensor at a time. Called again after an interruption, the work goes on.
    """
    from vl2.cli.info import byte_size
    from vl2.engine.sources import find_checkpoint
    from vl2.quantization.convert import check_target, quantise_checkpoint

    plan = _plan(scheme, group_size, bits or [])
    folder = find_checkpoint(source)
    check_target(target)
    importance = _importance(source, calibrate) if calibrate else None
    with counting(f"quantising to {plan.name}", "MiB") as count:

        def tell(done: int, total: int) -> None:
            count.reach(done >> 20, total >> 20)

        result = quantise_checkpoint(folder, target, plan, tell, importance)
    typer.echo(f"{byte_size(result.before)} became {byte_size(result.after)}.", err=True)
    typer.echo(target)


def _plan(scheme: str, group_size: int | None, changes: list[str]) -> VL2QuantizationConfig:
    from vl2.quantization.plan import VL2QuantizationConfig

    named = VL2QuantizationConfig.named(scheme, group_size)
    chosen = dict(named.bits)
    for change in changes:
        part, _, count = change.partition("=")
        if not count.isdecimal():
            raise InputError(f"{change!r} names no bits: write --bits PART=8.")
        chosen[part] = int(count)
    return VL2QuantizationConfig(
        {part: count for part, count in chosen.items() if count != _KEPT}, named.group_size
    )


def _importance(source: str, pictures: list[Path]) -> dict[str, torch.Tensor]:
    """What matters while the model describes some pictures."""
    from vl2.chat import as_conversation
    from vl2.engine.loading import load_parts
    from vl2.quantization.calibration import measure_importance

    terminal.hush()
    model, processor = load_parts(source, "cpu", "auto")
    prompts = [processor.encode(as_conversation(_QUESTION, [str(path)])) for path in pictures]
    with counting("describing", "pictures", len(prompts)) as count:

        def batches() -> Iterator[Mapping[str, torch.Tensor]]:
            for prompt in prompts:
                yield processor.collate([prompt])
                count.add()

        return measure_importance(model, batches(), _ANSWER_TOKENS)
