"""Where the network is forbidden no socket is opened, by whatever library."""

import json
import os
import platform
import signal
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


SEALED = """
import ctypes, struct, sys
NUMBER, ALLOW, KILL = int(sys.argv.pop(1)), 0x7FFF0000, 0x80000000
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
steps = [  # of a system call: its number is at 0, its first argument at 16
    (LOAD, 0, 0, 0), (EQUAL, 0, 4, NUMBER), (LOAD, 0, 0, 16),
    (EQUAL, 1, 0, 2), (EQUAL, 0, 1, 10),  # AF_INET, AF_INET6
    (RETURN, 0, 0, KILL), (RETURN, 0, 0, ALLOW),
]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code)))
prctl = ctypes.CDLL(None, use_errno=True).prctl
assert prctl(38, 1, 0, 0, 0) == 0  # no new privileges
assert prctl(22, 2, program, 0, 0) == 0  # the filter, for all processes that come from this one
"""
SOCKET = {"x86_64": 41, "aarch64": 198}
"""Numbers of the system call."""


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


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in SOCKET, reason="asks the kernel of Linux"
)
def test_no_process_and_no_library_asks_the_kernel_for_a_socket(nano, tmp_path):
    """Workers and what renders pages included: the kernel would kill whoever does."""
    (tmp_path / "a.pdf").write_bytes(pdf(["Total 12"]))
    (tmp_path / "b.pdf").write_bytes(pdf(["Total 13"]))
    words = ["read", *tmp_path.glob("*.pdf"), "-o", tmp_path / "out", "--workers", "2", "--offline"]
    reading = "from vl2.cli import main; raise SystemExit(main(sys.argv[1:]))"
    done = sealed(reading, *words, "--fields", "total", "--max-tokens", "3")
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("out/documents/*/result.json"))) == 2
    assert sealed("import socket; socket.socket()").returncode == -signal.SIGSYS


def sealed(program, *words):
    variables = {k: v for k, v in os.environ.items() if "OFFLINE" not in k}
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    number = str(SOCKET[platform.machine()])
    return subprocess.run(
        [sys.executable, "-c", SEALED + program, number, *map(str, words)],
        capture_output=True,
        text=True,
        env=variables,
        check=False,
    )


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
