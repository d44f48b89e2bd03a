"""A checkpoint folder into a quantised one, file by file and tensor by tensor.

Memory holds one tensor and what it becomes. The result is built in a folder beside the target and
renamed when it is whole; work that was interrupted goes on with the first file that is missing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from vl2.errors import CheckpointError, InputError
from vl2.model.loading import check_tensors, load_config, weight_files
from vl2.ops.groupwise import Scheme, quantise
from vl2.quantization.plan import VL2QuantizationConfig
from vl2.quantization.shards import SPELLED, ShardWriter, Spec

Progress = Callable[[int, int], None]
"""Told how many bytes of the source have been read, and how many there are."""

_INDEX = "model.safetensors.index.json"
_STATE = "unfinished.json"
_SPARE_BYTES = 2**26
_REOPENED_AFTER = 2**30
_COPIED = ("*.json", "*.jinja", "*.model", "*.txt", "LICENSE*", "NOTICE*")


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor of the source, and what it becomes."""

    name: str
    source: Spec
    scheme: Scheme | None

    @property
    def results(self) -> dict[str, Spec]:
        if self.scheme is None:
            return {self.name: self.source}
        codes, scales = self.scheme.shapes(*self.source.shape)
        return {
            self.name: Spec(torch.uint8, codes),
            f"{self.name}_scale": Spec(torch.bfloat16, scales),
        }


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a conversion: bytes of the weights before and after."""

    before: int
    after: int


def quantise_checkpoint(
    source: Path,
    target: Path,
    plan: VL2QuantizationConfig,
    progress: Progress | None = None,
    importance: Mapping[str, torch.Tensor] | None = None,
) -> Result:
    """Writes a quantised copy of a checkpoint, which `from_pretrained` loads without a flag.

    Args:
        source: folder of a checkpoint that is not quantised.
        target: folder to make; it must not exist, or be empty.
        plan: what is quantised, and how.
        progress: is told how far the work is.
        importance: per module (its name on disk) what an error in each column costs `[k]`.

    Raises:
        CheckpointError: the source is not a whole checkpoint.
        InputError: the target is taken, cannot be written, or there is too little space.
    """
    files = _survey(source, plan)
    before = sum(tensor.source.size for tensors in files.values() for tensor in tensors)
    after = sum(
        spec.size for tensors in files.values() for t in tensors for spec in t.results.values()
    )
    try:
        work = _begin(source, target, plan, importance, after)
        done = 0
        for file, tensors in files.items():
            if not (work / file.name).is_file():
                base = done

                def told(read: int, base: int = base) -> None:
                    if progress is not None:
                        progress(base + read, before)

                _convert_file(file, work / file.name, tensors, importance or {}, told)
            done += sum(tensor.source.size for tensor in tensors)
            if progress is not None:
                progress(done, before)
        _finish(source, target, work, files, plan, after)
    except OSError as error:
        raise InputError(
            f"{str(target)!r} cannot be written ({error}): name another folder, or call again "
            "to go on."
        ) from error
    return Result(before, after)


def check_target(target: Path) -> None:
    """Checks that a folder can be made.

    Raises:
        InputError: it is there already, with something in it.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{str(target)!r} exists already: name a folder that does not.")


def _survey(source: Path, plan: VL2QuantizationConfig) -> dict[Path, list[_Tensor]]:
    """The tensors of each file, by their headers, in the order of names."""
    config = load_config(source)
    if getattr(config, "quantization_config", None) is not None:
        raise CheckpointError(f"{source} is quantised already: start from the original checkpoint.")
    check_tensors(source, config)
    found: dict[Path, list[_Tensor]] = {}
    for file in weight_files(source):
        with safe_open(file, framework="pt") as stored:
            found[file] = [
                _tensor(file, name, stored.get_slice(name), plan) for name in sorted(stored.keys())
            ]
    return found


def _tensor(file: Path, name: str, stored: Any, plan: VL2QuantizationConfig) -> _Tensor:  # noqa: ANN401
    spelled = stored.get_dtype()
    if spelled not in SPELLED:
        raise CheckpointError(
            f"{file}: tensor {name} is of type {spelled}; only {', '.join(SPELLED)} can be read."
        )
    module, _, leaf = name.rpartition(".")
    scheme = plan.scheme(module) if leaf == "weight" else None
    return _Tensor(name, Spec(SPELLED[spelled], tuple(stored.get_shape())), scheme)


def _begin(
    source: Path,
    target: Path,
    plan: VL2QuantizationConfig,
    importance: Mapping[str, torch.Tensor] | None,
    after: int,
) -> Path:
    """The folder to work in: a new one, or that of the same work interrupted."""
    check_target(target)
    work = target.with_name(f"{target.name}.unfinished")
    state = {
        "source": str(source.resolve()),
        "files": {f.name: [f.stat().st_size, f.stat().st_mtime_ns] for f in weight_files(source)},
        "quantization_config": plan.to_dict(),
        "calibrated": importance is not None,
    }
    if work.exists():
        if _state(work) != state:
            raise InputError(
                f"{str(work)!r} holds other unfinished work: delete it, or name another target."
            )
    else:
        work.mkdir(parents=True)
        (work / _STATE).write_text(json.dumps(state), encoding="utf-8")
    written = sum(file.stat().st_size for file in work.glob("*.safetensors"))
    free = shutil.disk_usage(work).free
    if free < after - written + _SPARE_BYTES:
        raise InputError(
            f"There is too little space for {str(target)!r}: it takes {after / 1e9:.1f} GB, and "
            f"{free / 1e9:.1f} GB are free."
        )
    return work


def _state(work: Path) -> dict[str, Any] | None:
    try:
        return json.loads((work / _STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _convert_file(
    file: Path,
    result: Path,
    tensors: list[_Tensor],
    importance: Mapping[str, torch.Tensor],
    told: Callable[[int], None],
) -> None:
    specs = {name: spec for tensor in tensors for name, spec in tensor.results.items()}
    growing = result.with_suffix(".growing")
    read = 0
    with ShardWriter(growing, specs) as writer:
        for tensor, value in _read(file, tensors):
            if tensor.scheme is None:
                writer.write(tensor.name, value)
            else:
                columns = importance.get(tensor.name.removesuffix(".weight"))
                try:
                    codes, scales = quantise(value, tensor.scheme, columns)
                except InputError as error:
                    raise CheckpointError(f"{file}: tensor {tensor.name}: {error}") from error
                writer.write(tensor.name, codes)
                writer.write(f"{tensor.name}_scale", scales)
            read += tensor.source.size
            told(read)
    growing.replace(result)


def _read(file: Path, tensors: list[_Tensor]) -> Iterator[tuple[_Tensor, torch.Tensor]]:
    """The tensors of a file; it is opened anew now and then, for what was read stays mapped."""
    waiting = list(reversed(tensors))
    while waiting:
        read = 0
        with safe_open(file, framework="pt") as stored:
            while waiting and read < _REOPENED_AFTER:
                tensor = waiting.pop()
                read += tensor.source.size
                yield tensor, stored.get_tensor(tensor.name)


def _finish(
    source: Path,
    target: Path,
    work: Path,
    files: Mapping[Path, list[_Tensor]],
    plan: VL2QuantizationConfig,
    after: int,
) -> None:
    for pattern in _COPIED:
        for file in source.glob(pattern):
            if file.name not in {"config.json", _INDEX}:
                shutil.copyfile(file, work / file.name)
    if (source / _INDEX).is_file():
        places = {
            n: file.name for file, tensors in files.items() for t in tensors for n in t.results
        }
        _write_json(work / _INDEX, {"metadata": {"total_size": after}, "weight_map": places})
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    _write_json(work / "config.json", {**config, "quantization_config": plan.to_dict()})
    if target.exists():
        target.rmdir()
    work.replace(target)
    (target / _STATE).unlink()


def _write_json(file: Path, values: dict[str, Any]) -> None:
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
