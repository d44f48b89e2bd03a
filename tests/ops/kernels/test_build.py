"""The package installs with a compiler and without."""

import os
import subprocess
import sys
import zipfile

import pytest

from vl2.ops.kernels import build, library

pytest.importorskip("hatchling")


def wheel(repository, folder, **environment):
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=repository,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("vl2-*.whl")
    with zipfile.ZipFile(file) as archive:
        names = [n for n in archive.namelist() if n.endswith(build.LIBRARY.name)]
        return file.name, names, done.stdout + done.stderr


def test_a_wheel_without_a_compiler_is_for_every_platform(repository, tmp_path):
    name, libraries, told = wheel(repository, tmp_path, CC="no-such-compiler")
    assert name.endswith("-py3-none-any.whl")
    assert not libraries
    assert "without compiled kernels" in told


def test_a_wheel_with_a_compiler_holds_the_kernels(repository, tmp_path, compiled):
    name, libraries, _ = wheel(repository, tmp_path)
    assert not name.endswith("-any.whl")
    assert libraries == [f"vl2/ops/kernels/{build.LIBRARY.name}"]


def test_no_compiler_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(build.BuildError, match="no-such-compiler"):
        build.build(tmp_path / "x.so")


def test_a_compiler_that_fails_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", "false")
    with pytest.raises(build.BuildError, match="false failed"):
        build.build(tmp_path / "x.so")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "_compiler", lambda: ["cc"])
    monkeypatch.setattr(build, "_compile", lambda *words: words[-1].write_bytes(b"whole"))
    with pytest.raises(build.BuildError, match="cannot be written"):
        build.build(tmp_path / "absent" / "x.so")


def test_a_compiler_without_openmp_builds_kernels_for_one_thread(compiled, monkeypatch, tmp_path):
    run = build._run

    def without(words):
        if "-fopenmp" in words:
            raise build.BuildError("unknown option -fopenmp")
        run(words)

    monkeypatch.setattr(build, "_run", without)
    assert library.open_library(build.build(tmp_path / "x.so"))
