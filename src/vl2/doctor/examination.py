"""All checks of a model, from its files to its first answer."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import torch

from vl2.doctor import files, reading, running, template, tensors
from vl2.doctor.findings import AGAIN, Finding, unusable
from vl2.engine import load
from vl2.engine.placement import choose_device, choose_dtype
from vl2.engine.sources import find_checkpoint
from vl2.errors import CheckpointError, VL2Error
from vl2.model.configuration import DeepseekVLV2Config
from vl2.model.loading import load_config, weight_files
from vl2.processing.processor import DeepseekVLV2Processor


def examine(
    model: str | os.PathLike[str],
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    *,
    quick: bool = False,
) -> Iterator[Finding]:
    """Check a model; findings come one by one, and later checks need what earlier ones found fine.

    Args:
        model: as for `vl2.load`.
        device: as for `vl2.load`.
        dtype: as for `vl2.load`.
        quick: leave out what reads all the weights: hashes, numbers, and the answer.

    Raises:
        CheckpointError: there is no such model.
        InputError: no such device or type.
    """
    folder = find_checkpoint(model)
    place = choose_device(device)
    found = files.check_files(folder)
    yield from found
    if any(finding.state == "wrong" for finding in found):
        return
    if not quick:
        yield from files.check_hashes(folder)
    try:
        config = load_config(folder)
    except CheckpointError as error:
        yield unusable("configuration", error)
        return
    whole = yield from _weights(folder, config, quick=quick)
    readable = yield from _words(folder, config)
    if not whole or not readable:
        yield Finding("answer", "not checked", "What is wrong above must be mended first.")
        return
    weight_bytes = sum(file.stat().st_size for file in weight_files(folder))
    precision = choose_dtype(dtype, place, weight_bytes)
    memory = running.check_memory(config, place, precision)
    yield memory
    yield running.check_positions(config)
    if quick or memory.state == "wrong":
        yield Finding("answer", "not checked", "Left out." if quick else "There is no room for it.")
        return
    try:
        assistant = load(folder, place, precision)
    except VL2Error as error:
        yield unusable("answer", error)
        return
    yield running.check_answer(assistant)


def _weights(
    folder: Path, config: DeepseekVLV2Config, *, quick: bool
) -> Generator[Finding, None, bool]:
    """Checks of the tensors; returns whether the model can be loaded."""
    findings = [tensors.check_names(folder, config), tensors.check_types(folder, config)]
    yield from findings
    if not quick and all(finding.state != "wrong" for finding in findings):
        findings.append(tensors.check_numbers(folder))
        yield findings[-1]
    return all(finding.state != "wrong" for finding in findings)


def _words(folder: Path, config: DeepseekVLV2Config) -> Generator[Finding, None, bool]:
    """Checks of tokenizer and processor; returns whether prompts can be made."""
    try:
        processor = DeepseekVLV2Processor.from_pretrained(folder, local_files_only=True)
    except (VL2Error, AttributeError, LookupError, TypeError, ValueError) as error:
        told = f"The processor cannot be loaded: {' '.join(str(error).split())[:300]}"
        yield Finding("processor", "wrong", told, AGAIN)
        return False
    findings = []
    for finding in (
        reading.check_ids(processor, config),
        reading.check_ends(folder, processor, config),
        reading.check_layout(processor),
        reading.check_fit(processor, config),
        reading.check_tiles(processor),
    ):
        findings.append(finding)
        yield finding
    yield template.check_template(processor)  # whatever it is, vl2 itself can ask
    return all(finding.state != "wrong" for finding in findings)
