"""The ceilings of the machine."""

import torch

from vl2.evals.speed.machine import measure_machine


def test_ceilings_are_measured():
    machine = measure_machine(torch.device("cpu"), read_bytes=2**22, side=128)
    assert set(machine.operations) == {"float32", "bfloat16", "int8"}
    assert all(at > 1e6 for at in machine.operations.values())
    assert machine.read_bytes > 1e6
    assert machine.threads == torch.get_num_threads()


def test_slower_reading_is_told_as_slower(monkeypatch):
    """Half the numbers in the same time are half the bytes a second."""
    from vl2.evals.speed import machine

    monkeypatch.setattr(machine, "_best", lambda run, device: 0.5)
    half, whole = (machine._read(torch.device("cpu"), size) for size in (1000, 2000))
    assert (half, whole) == (2000, 4000)
