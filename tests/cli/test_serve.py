"""`vl2 serve`: a process that serves until a signal comes."""

import contextlib
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from vl2 import cli
from vl2.errors import InputError

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")


def test_a_process_serves_and_a_signal_ends_it(nano):
    command = [
        sys.executable,
        *["-m", "vl2", "serve", "--port", "0", "--no-page", "--served-name", "little"],
    ]
    environment = {**os.environ, "VL2_API_KEY": "secret"}
    with (
        subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as process,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(process.kill)
        lines = []
        while not (found := re.search(r"http://127\.0\.0\.1:\d+/", "".join(lines[-1:]))):
            lines.append(process.stderr.readline())
            assert lines[-1], "".join(lines)
        with urllib.request.urlopen(f"{found[0]}health", timeout=20) as response:
            assert json.load(response)["model"] == "little"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{found[0]}v1/models", timeout=20)
        process.send_signal(signal.SIGTERM)
        out, rest = process.communicate(timeout=30)
        assert process.returncode in (0, -signal.SIGTERM)
        assert out == ""
        assert "Traceback" not in rest


def test_a_port_that_is_taken_is_told_before_the_wait_for_a_model(capsys):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert cli.main(["serve", "--no-page", "--port", port]) == 2
    assert "choose another --port" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["", " ", "ä", "a\nb"])
def test_keys_that_no_header_can_carry(key, capsys):
    assert cli.main(["serve", "--api-key", key]) == 2
    assert "API key" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "prometheus_client", "pydantic"])
def test_a_missing_package_names_its_extra(package, monkeypatch, capsys):
    for name in [n for n in sys.modules if n.startswith("vl2.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert cli.main(["serve", "--port", "0"]) == 2
    assert "pip install 'vl2[serve]'" in capsys.readouterr().err


def test_limits_below_one():
    settings = importlib.import_module("vl2.server.settings")
    with pytest.raises(InputError, match="queue must be at least 1"):
        settings.Settings(queue=0)
