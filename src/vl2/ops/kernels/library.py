"""The compiled library: where it is, which instruction set it uses, what it is called with.

It is loaded on first use. Without it (no compiler when the package was installed) everything is
computed by torch, and one warning says so to who has quantised weights.
"""

import ctypes
import functools
import logging
import os
from pathlib import Path

import torch

from vl2.errors import InputError
from vl2.ops.kernels.build import LIBRARY

VARIABLE = "VL2_KERNELS"
"""Environment variable: `off`, or the instruction set to take instead of the best one."""

INSTRUCTION_SETS = ("portable", "avx2", "avx512-vnni", "avx512-bf16")
TYPES = {torch.float32: 0, torch.bfloat16: 1}
"""Types of activations that the kernels read and write, by their number."""

_NO_MEMORY = 1


class PackedWeight(ctypes.Structure):
    """`packed` of `native/packed.h`: where the codes and scales of a weight lie."""

    _fields_ = (
        ("codes", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("blocks", ctypes.c_int64),
        ("groups", ctypes.c_int64),
        ("group", ctypes.c_int64),
        ("bits", ctypes.c_int64),
    )


_Weight = ctypes.POINTER(PackedWeight)


class ExpertWeights(ctypes.Structure):
    """`expert_weights` of `native/kernels.h`."""

    _fields_ = (
        ("gate_up", _Weight),
        ("down", _Weight),
        ("experts", ctypes.c_int64),
        ("inner", ctypes.c_int64),
        ("shared_gate", _Weight),
        ("shared_up", _Weight),
        ("shared_down", _Weight),
        ("shared_inner", ctypes.c_int64),
    )


class Ending(ctypes.Structure):
    """`ending` of `native/kernels.h`."""

    _fields_ = (
        ("y", ctypes.c_void_p),
        ("n", ctypes.c_int64),
        ("type", ctypes.c_int),
        ("bias", ctypes.c_void_p),
        ("activation", ctypes.c_int),
    )


class PagedCache(ctypes.Structure):
    """`paged_cache` of `native/kernels.h`."""

    _fields_ = (
        ("pages", ctypes.c_void_p),
        ("type", ctypes.c_int),
        ("page_stride", ctypes.c_int64),
        ("token_stride", ctypes.c_int64),
        ("page_size", ctypes.c_int64),
        ("table", ctypes.c_void_p),
        ("table_stride", ctypes.c_int64),
        ("lengths", ctypes.c_void_p),
        ("groups", ctypes.c_int64),
        ("heads", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("value_width", ctypes.c_int64),
        ("value_start", ctypes.c_int64),
    )


class ManyQueries(ctypes.Structure):
    """`many` of `native/kernels.h`."""

    _fields_ = (
        ("query", ctypes.c_void_p),
        ("key", ctypes.c_void_p),
        ("value", ctypes.c_void_p),
        ("query_token", ctypes.c_int64),
        ("query_head", ctypes.c_int64),
        ("key_token", ctypes.c_int64),
        ("key_head", ctypes.c_int64),
        ("value_token", ctypes.c_int64),
        ("value_head", ctypes.c_int64),
        ("out", ctypes.c_void_p),
        ("heads", ctypes.c_int64),
        ("groups", ctypes.c_int64),
        ("queries", ctypes.c_int64),
        ("keys", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("value_width", ctypes.c_int64),
        ("scale", ctypes.c_float),
        ("causal", ctypes.c_int),
    )


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where there are none.

    Raises:
        InputError: `VL2_KERNELS` names what this processor does not have.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted == "off":
        return None
    try:
        loaded = open_library(LIBRARY)
    except OSError:
        return None
    select(loaded, wanted)
    return loaded


def fast_library() -> ctypes.CDLL | None:
    """The compiled kernels where they may be put in the place of torch's own bfloat16 products.

    Portable C is no match for these.
    """
    loaded = library()
    return None if loaded is None or instruction_set_of(loaded) == "portable" else loaded


@functools.cache
def tell_if_missing() -> None:
    """Warns, once, where quantised weights will be multiplied without the kernels."""
    if library() is None and os.environ.get(VARIABLE) != "off":
        logging.getLogger("vl2").warning(
            "The compiled kernels are missing, so torch multiplies by quantised weights, several "
            "times slower: with a C compiler installed, run python -m vl2.ops.kernels.build"
        )


def open_library(path: Path) -> ctypes.CDLL:
    """Loads a library of kernels and declares its functions.

    Raises:
        OSError: it is absent, or made for another system.
    """
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError:
        if not path.is_file():
            raise
        # This torch keeps its OpenMP runtime to itself: bring one from the system.
        ctypes.CDLL("libgomp.so.1", mode=ctypes.RTLD_GLOBAL)
        loaded = ctypes.CDLL(str(path))
    whole, number, address = ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
    loaded.vl2_select.argtypes, loaded.vl2_select.restype = [ctypes.c_char_p], ctypes.c_char_p
    loaded.vl2_linear.argtypes = [
        _Weight, number, address, number, ctypes.POINTER(Ending), whole,
    ]  # fmt: skip
    loaded.vl2_experts.argtypes = [
        ctypes.POINTER(ExpertWeights), address, number, number, address, address, number,
        address, number, whole, whole,
    ]  # fmt: skip
    loaded.vl2_paged_attention.argtypes = [
        ctypes.POINTER(PagedCache), address, number, address, whole,
    ]  # fmt: skip
    loaded.vl2_attention.argtypes = [ctypes.POINTER(ManyQueries), whole]
    loaded.vl2_huge_pages.argtypes, loaded.vl2_huge_pages.restype = [address, number, whole], None
    # Model and batch are described in `vl2.ops.kernels.step`.
    loaded.vl2_step.argtypes = [address, address, address, address, whole]
    return loaded


def select(loaded: ctypes.CDLL, name: str | None = None) -> str:
    """Makes a library use an instruction set; the best one if None. Returns its name.

    Raises:
        InputError: there is none of that name, or this processor lacks it.
    """
    used = loaded.vl2_select(None if name is None else name.encode()).decode()
    if name not in (None, used):
        raise InputError(
            f"The kernels cannot use {name!r} here: set {VARIABLE} to off or one of "
            f"{', '.join(INSTRUCTION_SETS)} that this processor has."
        )
    return used


def instruction_set() -> str:
    """What computes with packed weights on this CPU: an instruction set, or `torch`."""
    loaded = library()
    return "torch" if loaded is None else instruction_set_of(loaded)


def instruction_set_of(loaded: ctypes.CDLL) -> str:
    """The instruction set that a library of kernels uses."""
    return loaded.vl2_select(b"").decode()


def huge_pages(memory: torch.Tensor, *, now: bool) -> None:
    """Asks the system to keep memory in pages of 2 MB; where it does not, nothing changes.

    Args:
        memory: on the CPU.
        now: rearrange what is in use already, which takes about a second and a half a gigabyte;
            else only what will be used later.
    """
    loaded = library()
    if loaded is not None and memory.device.type == "cpu":
        loaded.vl2_huge_pages(memory.data_ptr(), memory.nbytes, now)


def check(status: int) -> None:
    """Raises what a kernel's status stands for."""
    if status == _NO_MEMORY:
        raise MemoryError("The kernels could not get memory for their intermediate results.")
    assert status == 0, "a packed weight does not fit its activations"
