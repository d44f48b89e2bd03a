"""The script that measures the server under load."""

import contextlib
import importlib.util
import json
import os
import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def script(repository, server, monkeypatch):
    """The script with the server that the tests have, and a few of its questions."""
    spec = importlib.util.spec_from_file_location(
        "load_test", repository / "benchmarks" / "load_test.py"
    )
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "load_test", module)  # its dataclasses look it up
    spec.loader.exec_module(module)
    process = SimpleNamespace(pid=os.getpid())

    @contextlib.contextmanager
    def served(*_):
        yield SimpleNamespace(process=process, url=server.url)

    monkeypatch.setattr(module, "served", served)
    some = module.questions()[9:12]
    monkeypatch.setattr(module, "questions", lambda: some)
    monkeypatch.setattr(module, "GROWTH", 9)  # of a process that runs tests
    return module


def run(script, monkeypatch, out):
    words = ["--seconds", "1", "--clients", "3", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["load_test.py", *words])
    return script.main()


def test_answers_are_counted_and_drawn(script, monkeypatch, tmp_path):
    assert run(script, monkeypatch, tmp_path / "load") == 0
    found = json.loads((tmp_path / "load.json").read_text())
    assert found["answered"] == found["asked"] > 3
    assert found["wrong_or_lost"] == 0
    assert (tmp_path / "load.png").read_bytes().startswith(b"\x89PNG")
    assert "| wrong or lost | 0 |" in (tmp_path / "load.md").read_text()


def test_a_mixed_up_answer_fails_it(script, monkeypatch, tmp_path):
    ask, count = script.ask, iter(range(10**6))

    async def mixed_up(client, body):
        text, tokens, first = await ask(client, body)
        return text + "x" * (next(count) == 5), tokens, first

    monkeypatch.setattr(script, "ask", mixed_up)
    assert run(script, monkeypatch, tmp_path / "load") == 1
    assert json.loads((tmp_path / "load.json").read_text())["wrong_or_lost"] == 1
