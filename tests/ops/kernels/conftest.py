"""The kernels, compiled from the sources of the checkout; skipped where there is no compiler."""

import pytest

from vl2.ops.kernels import build, library


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """A freshly compiled library."""
    try:
        path = build.build(tmp_path_factory.mktemp("kernels") / "_kernels.so")
    except build.BuildError as error:
        pytest.skip(f"the kernels cannot be compiled here: {error}")
    return library.open_library(path)


@pytest.fixture(params=library.INSTRUCTION_SETS)
def kernels(request, compiled):
    """The library with each instruction set that this processor has, one after the other."""
    if compiled.vl2_select(request.param.encode()).decode() != request.param:
        pytest.skip(f"this processor has no {request.param}")
    return compiled
