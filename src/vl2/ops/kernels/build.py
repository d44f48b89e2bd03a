"""Compiling the kernels: run when the package is installed, or later by `python -m` this module.

Only the standard library is used, for the build environment has no torch. The compiler is `$CC`,
else `cc`, `gcc` or `clang`. The library has no link to an OpenMP runtime of its own: it takes the
one that torch has loaded, so that both share their threads.
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent / "native"
LIBRARY = Path(__file__).parent / "_kernels.so"
"""Where the library lies once it is built."""

_FLAGS = [
    "-O3",
    "-std=gnu11",
    "-fPIC",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
]
_PLAIN = ("linear", "experts", "cached", "many", "pages", "route", "step", "tiles_portable")
_AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni", "-mfma"]
_X86 = {
    "tiles_avx2": ["-mavx2", "-mfma"],
    "tiles_avx512": _AVX512,
    "tiles_avx512bf16": [*_AVX512, "-mavx512bf16"],
}
_SECONDS = 120


class BuildError(Exception):
    """There is no compiler here that can build the kernels; the sentence says why."""


def build(target: Path = LIBRARY) -> Path:
    """Compiles the kernels into a shared library.

    Args:
        target: file to write; it appears only when it is whole.

    Raises:
        BuildError: there is no compiler, or it failed.
    """
    if sys.platform == "win32":
        raise BuildError("The kernels are not built on Windows.")
    compiler = _compiler()
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / target.name
        try:
            _compile(compiler, ["-fopenmp"], Path(folder), library)
        except BuildError:  # a compiler without OpenMP: one thread is better than none
            _compile(compiler, [], Path(folder), library)
        try:
            whole = target.with_name(f"{target.name}.{os.getpid()}")
            shutil.copyfile(library, whole)
            whole.replace(target)
        except OSError as error:
            raise BuildError(f"{target} cannot be written: {error}") from error
    return target


def _compiler() -> list[str]:
    chosen = shlex.split(os.environ.get("CC", ""))
    candidates = [chosen] if chosen else [["cc"], ["gcc"], ["clang"]]
    for words in candidates:
        if shutil.which(words[0]):
            return words
    names = ", ".join(words[0] for words in candidates)
    raise BuildError(f"There is no C compiler ({names}).")


def _compile(compiler: list[str], openmp: list[str], folder: Path, library: Path) -> None:
    units = {name: [] for name in _PLAIN}
    if platform.machine().lower() in {"x86_64", "amd64"}:
        units |= _X86
    objects = []
    for name, flags in units.items():
        objects.append(str(folder / f"{name}.o"))
        source = str(SOURCES / f"{name}.c")
        _run([*compiler, *_FLAGS, *openmp, *flags, "-c", source, "-o", objects[-1]])
    # On macOS undefined symbols must be allowed in so many words.
    undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    _run([*compiler, "-shared", *undefined, *objects, "-o", str(library), "-lm"])


def _run(words: list[str]) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{words[0]} could not be run: {error}") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise BuildError(f"{words[0]} failed: {lines[-1]}")


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{build()}\n")
    except BuildError as failure:
        sys.exit(f"vl2: {failure}")
