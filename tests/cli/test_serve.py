"""`vl2 serve`: a process that serves until a signal comes."""

import contextlib
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
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
    environment = {**os.environ, "VL2_API_KEY": "secret", "VL2_ALLOW_HOSTS": "a.example b.example"}
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
        for host, status in (("b.example", 200), ("c.example", 421)):
            assert status_of(found[0], host) == status
        port = int(found[0].rstrip("/").rpartition(":")[2])
        assert listens_at("127.0.0.1", port)
        assert not listens_at("127.0.0.2", port)
        assert not listens_at("::1", port)
        process.send_signal(signal.SIGTERM)
        out, rest = process.communicate(timeout=30)
        assert process.returncode in (0, -signal.SIGTERM)
        assert out == ""
        assert "Traceback" not in rest


def status_of(url, host):
    request = urllib.request.Request(f"{url}health", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def listens_at(address, port):
    try:
        with socket.create_connection((address, port), timeout=5):
            return True
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 must be set up first")
def test_where_a_server_listens_can_be_seen():
    """Who listens everywhere is found where the default is not."""
    listening = importlib.import_module("vl2.server.listening")
    for host, found in (("127.0.0.1", False), ("0.0.0.0", True)):
        with listening.reserve(host, 0) as reserved:
            reserved.listen()
            port = reserved.getsockname()[1]
            assert listens_at("127.0.0.1", port)
            assert listens_at("127.0.0.2", port) is found


def test_a_port_that_is_taken_is_told_before_the_wait_for_a_model(capsys):
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
