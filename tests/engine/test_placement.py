"""Devices and types: what `auto` means, and what does not exist."""

import pytest
import torch

from vl2.engine.placement import choose_device, choose_dtype
from vl2.errors import InputError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
NANO, TINY = 20 * 2**20, 7 * 10**9


def machine(monkeypatch, *, cuda: int = 0, mps: bool = False, bfloat16: bool = True) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bfloat16)


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"), [(2, True, "cuda"), (0, True, "mps"), (0, False, "cpu")]
)
def test_the_best_device_is_taken(monkeypatch, cuda, mps, chosen) -> None:
    machine(monkeypatch, cuda=cuda, mps=mps)
    assert choose_device().type == chosen


def test_a_named_device_is_taken(monkeypatch) -> None:
    machine(monkeypatch, cuda=2)
    assert choose_device("cpu") == CPU
    assert choose_device("cuda:1") == torch.device("cuda", 1)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "gpu", "", "cpu!", "meta"])
def test_devices_that_are_not_there(monkeypatch, name) -> None:
    machine(monkeypatch)
    with pytest.raises(InputError, match="use auto"):
        choose_device(name)


def test_small_models_run_in_float32_everywhere(monkeypatch) -> None:
    machine(monkeypatch, cuda=1)
    assert choose_dtype("auto", CPU, NANO) == torch.float32
    assert choose_dtype("auto", CUDA, NANO) == torch.float32


def test_large_models_run_in_bfloat16_where_the_gpu_has_it(monkeypatch) -> None:
    machine(monkeypatch, cuda=1)
    assert choose_dtype("auto", CPU, TINY) == torch.bfloat16
    assert choose_dtype("auto", CUDA, TINY) == torch.bfloat16
    machine(monkeypatch, cuda=1, bfloat16=False)
    assert choose_dtype("auto", CUDA, TINY) == torch.float16
    assert choose_dtype("auto", CPU, TINY) == torch.bfloat16


@pytest.mark.parametrize("wanted", ["float16", torch.float16])
def test_a_named_type_is_taken(wanted) -> None:
    assert choose_dtype(wanted, CPU, TINY) == torch.float16


@pytest.mark.parametrize("wanted", ["int8", "fp16", torch.int64])
def test_types_that_models_cannot_have(wanted) -> None:
    with pytest.raises(InputError, match="float32, bfloat16, float16"):
        choose_dtype(wanted, CPU, TINY)
