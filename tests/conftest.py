"""What every test runs under: one thread, no network, no model hub."""

import contextlib
import os
import signal
import socket
from pathlib import Path

# Before torch and transformers are imported: two workers share two cores, and nothing is fetched.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["MPLBACKEND"] = "Agg"

import pytest

with contextlib.suppress(ImportError):  # the lanes of other packages do without it
    from hypothesis import settings

    # A machine that is busy with something else is no defect of the code under test.
    settings.register_profile("patient", deadline=None)
    settings.load_profile("patient")

# A run in the background of a shell ignores Ctrl-C, and so would the programs that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parents[1]
NANO = REPOSITORY / "src" / "vl2" / "assets" / "nano"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def golden() -> Path:
    """What the original release computes on tiny random checkpoints."""
    return REPOSITORY / "tests" / "data" / "golden"


@pytest.fixture(scope="session")
def nano() -> Path:
    """The folder of the embedded model; skips where its weights are not there yet."""
    if not (NANO / "model.safetensors").is_file():
        pytest.skip("the embedded model has no weights in this checkout")
    return NANO


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address):
            raise AssertionError(f"a test tried to reach {address!r}: tests use no network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


def _is_local(address: object) -> bool:
    host = address[0] if isinstance(address, tuple) else ""
    return host in {"::1", "localhost"} or str(host).startswith("127.")
