"""Servers on a loopback port, with models that are real or acted."""

import contextlib
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

sys.path.insert(0, str(Path(__file__).parent))

from served import serving

import vl2


@pytest.fixture(scope="session")
def assistant(nano):
    return vl2.load(nano)


@pytest.fixture(scope="session")
def server(assistant):
    """The embedded model behind the default settings."""
    with serving(assistant) as served:
        yield served


@pytest.fixture
def serve():
    """A function that serves an assistant with some settings until the test ends."""
    with contextlib.ExitStack() as stack:
        yield lambda *args, **settings: stack.enter_context(serving(*args, **settings))
