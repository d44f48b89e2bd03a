"""The compiled kernels for tests outside of tests/ops/kernels, and quantised golden models."""

import functools
import tempfile
from pathlib import Path

import torch
from golden import checkpoint

from vl2.model.loading import load_model
from vl2.ops.kernels import build, library
from vl2.quantization.plan import VL2QuantizationConfig


@functools.cache
def compiled_or_none():
    """The kernels: those of the installation, else compiled now; None without a compiler."""
    if build.LIBRARY.is_file():
        return library.library()
    try:
        path = build.build(Path(tempfile.mkdtemp()) / "_kernels.so")
    except build.BuildError:
        return None
    loaded = library.open_library(path)
    library.select(loaded)
    return loaded


@functools.cache
def quantised_model_of(variant, scheme):
    """A golden checkpoint, quantised while loading; shared, so tests must not change it."""
    plan = VL2QuantizationConfig.named(scheme)
    return load_model(checkpoint(variant), dtype=torch.float32, quantization=plan)
