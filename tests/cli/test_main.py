"""The command table and what `main` does with errors."""

import errno
import os
import subprocess
import sys

import pytest

from vl2 import cli
from vl2.errors import InputError


def add_verb(monkeypatch, name, function):
    module = type(sys)(f"vl2.cli.{name}")
    module.command = function
    monkeypatch.setitem(sys.modules, f"vl2.cli.{name}", module)
    monkeypatch.setitem(cli.VERBS, name, "A verb for this test.")


def test_help_lists_every_verb_with_its_line(capsys):
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for verb, line in cli.VERBS.items():
        assert verb in text
        assert line in text


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == "vl2 0.1.0\n"


def test_a_users_mistake_is_one_sentence_and_exit_code_two(monkeypatch, capsys):
    def command() -> None:
        """Fail."""
        raise InputError("the picture is upside down; turn it")

    add_verb(monkeypatch, "wrong", command)
    assert cli.main(["wrong"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "vl2: the picture is upside down; turn it\n"


def test_a_defect_stays_a_traceback(monkeypatch):
    def command() -> None:
        """Fail."""
        raise ZeroDivisionError

    add_verb(monkeypatch, "broken", command)
    with pytest.raises(ZeroDivisionError):
        cli.main(["broken"])


def test_a_package_of_an_extra_that_is_missing_is_named(monkeypatch, capsys):
    def command() -> None:
        """Draw."""
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib.figure")

    add_verb(monkeypatch, "draw", command)
    assert cli.main(["draw"]) == 2
    err = capsys.readouterr().err
    assert "matplotlib" in err
    assert "pip install 'vl2[train]'" in err
    assert err.count("\n") == 1


def test_any_other_missing_module_is_a_defect(monkeypatch):
    def command() -> None:
        """Fail."""
        raise ModuleNotFoundError("No module named 'vl2.nowhere'", name="vl2.nowhere")

    add_verb(monkeypatch, "broken", command)
    with pytest.raises(ModuleNotFoundError):
        cli.main(["broken"])


def test_a_full_disk_is_told(monkeypatch, capsys):
    def command() -> None:
        """Write."""
        raise OSError(errno.ENOSPC, "No space left on device")

    add_verb(monkeypatch, "write", command)
    assert cli.main(["write"]) == 2
    assert capsys.readouterr().err == (
        "vl2: There is no space left to write to: make room and try again.\n"
    )


def test_interruption_is_130(monkeypatch):
    def command() -> None:
        """Be stopped."""
        raise KeyboardInterrupt

    add_verb(monkeypatch, "slow", command)
    assert cli.main(["slow"]) == 130


@pytest.mark.parametrize(
    "arguments",
    [["paint"], ["--colour"], ["info"], ["info", "--nonsense"], []],
    ids=["unknown verb", "unknown option", "missing argument", "unknown option of a verb", "none"],
)
def test_wrong_usage_is_exit_code_two(arguments, capsys):
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Usage" in err


def test_module_and_command_are_the_same_program():
    done = subprocess.run(
        [sys.executable, "-m", "vl2", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Usage: vl2 ")


def test_letters_that_a_terminal_lacks_are_spelled_out():
    done = subprocess.run(
        [sys.executable, "-m", "vl2", "info", "tiny"],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )
    assert b"3.37 B" in done.stdout
    assert rb"\u2588" in done.stdout
