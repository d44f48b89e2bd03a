"""`vl2 doctor`: what is wrong with a model, and what to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from vl2.cli import options, terminal

if TYPE_CHECKING:
    from vl2.doctor import Finding

EXIT_WRONG = 1
_TOLD = 26  # columns before what a check tells
_COLOURS = {"fine": "green", "odd": "yellow", "wrong": "red", "not checked": "bright_black"}


def command(
    model: options.GivenModel = "nano",
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Leave out what reads all the weights: hashes, numbers, the answer."
        ),
    ] = False,
    as_json: options.AsJson = False,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
) -> None:
    """Check a model from its files to its first answer.

    Tells what is wrong and what to do. The exit code is 1 if something is wrong.
    """
    from vl2.doctor import examine

    terminal.hush()
    findings = []
    advised = {""}
    for finding in examine(model, device, dtype, quick=quick):
        findings.append(finding)
        if not as_json:
            _show(finding, finding.advice not in advised)
            advised.add(finding.advice)
    wrong = any(finding.state == "wrong" for finding in findings)
    if as_json:
        checks = [finding.as_dict() for finding in findings]
        typer.echo(json.dumps({"wrong": wrong, "checks": checks}, indent=1, ensure_ascii=False))
    if wrong:
        raise typer.Exit(EXIT_WRONG)


def _show(finding: Finding, advises: bool) -> None:
    state = typer.style(f"{finding.state:12}", fg=_COLOURS[finding.state])
    typer.echo(f"{finding.check:14}{state}{terminal.wrapped(finding.told, _TOLD)}")
    if advises:
        typer.echo(f"{'':{_TOLD}}{terminal.wrapped(finding.advice, _TOLD)}")
