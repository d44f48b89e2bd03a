"""With and without the compiled kernels."""

import pytest
from quantised import compiled_or_none

from vl2.quantization import modules


@pytest.fixture(params=["torch", "kernels"])
def computed_by(request, monkeypatch):
    """Quantised modules computed by torch, then by the kernels (skipped without a compiler)."""
    loaded = compiled_or_none() if request.param == "kernels" else None
    if request.param == "kernels" and loaded is None:
        pytest.skip("the kernels cannot be compiled here")
    monkeypatch.setattr(modules, "library", lambda: loaded)
    return request.param
