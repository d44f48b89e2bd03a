"""Where the network is forbidden no socket is opened, by whatever library."""

import json
import os
import socket
import subprocess
import sys
import urllib.request

import pytest
from pdfs import pdf

from vl2.documents.offline import OfflineError, no_network

PROGRAM = """
import json, sys
seen = []
def hook(event, arguments):
    if event == "socket.__new__" and arguments[1] != 1 or event == "socket.getaddrinfo":
        seen.append(event)
sys.addaudithook(hook)
from vl2.cli import main
code = main(sys.argv[1:])
print(json.dumps([code, seen]))
"""


def run(*words):
    """Exit code, network events and messages of a command line in a process of its own."""
    variables = {k: v for k, v in os.environ.items() if "OFFLINE" not in k}
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, words)],
        capture_output=True,
        text=True,
        env=variables,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    code, seen = json.loads(done.stdout.splitlines()[-1])
    return code, seen, done.stderr


def test_reading_opens_no_socket(nano, tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf(["Total 12"]))
    words = (tmp_path / "a.pdf", "-o", tmp_path / "out", "--markdown", "--max-tokens", "5")
    code, seen, errors = run("read", *words, "--offline")
    assert (code, seen) == (0, []), errors


def test_a_model_that_is_not_here_is_refused_without_a_socket(tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf(["Total 12"]))
    words = (tmp_path / "a.pdf", "-o", tmp_path / "out", "--model", "nobody/nothing-here")
    code, seen, errors = run("read", *words, "--offline")
    assert (code, seen) == (2, []), errors
    assert "nobody/nothing-here" in errors


def test_sockets_and_look_ups_are_refused_and_local_ones_are_not():
    with no_network():
        with pytest.raises(OfflineError):
            socket.socket()
        with pytest.raises(OfflineError):
            socket.getaddrinfo("localhost", 80)
        with pytest.raises(OfflineError):
            urllib.request.urlopen("http://127.0.0.1:9/")
        if hasattr(socket, "AF_UNIX"):
            for end in socket.socketpair():
                end.close()
        with no_network():
            pass
        with pytest.raises(OfflineError):
            socket.socket()
    socket.socket().close()


def test_the_variable_of_the_hub_is_put_back(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with no_network():
        assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in os.environ
