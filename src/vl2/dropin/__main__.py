"""`python -m vl2.dropin SCRIPT ARGS...`: run a script that was written for the original."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from vl2.dropin.names import install
from vl2.errors import InputError, VL2Error

USAGE = "usage: python -m vl2.dropin SCRIPT [ARGS...]"


def main(arguments: Sequence[str]) -> int:
    """Runs a script as `python SCRIPT ARGS...` would, on `vl2`, even if the original is there.

    Args:
        arguments: the script and its own arguments.

    Returns:
        2 if there is no script to run, else 0.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stderr.write(f"{USAGE}\n")
        return 0 if arguments else 2
    try:
        _run(Path(arguments[0]), list(arguments))
    except VL2Error as error:
        sys.stderr.write(f"vl2: {error}\n")
        return 2
    return 0


def _run(script: Path, arguments: list[str]) -> None:
    if not script.is_file():
        raise InputError(f"There is no script {str(script)!r}: name a Python file.")
    install(replace=True)
    sys.argv = arguments
    sys.path[0] = str(script.resolve().parent)
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
