"""The rules of the house that a linter of single files cannot see."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vl2 import cli

MAX_LINES = 500
SOURCE = Path(__file__).resolve().parents[2] / "src" / "vl2"
MODULES = sorted(SOURCE.rglob("*.py"))


def name_of(path):
    return path.relative_to(SOURCE).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_stay_small(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{name_of(path)} has {lines} lines: what are its two jobs?"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), name_of(path)


@pytest.mark.parametrize(
    "path", [p for p in MODULES if p.parts[-2] != "cli" and p.name != "auto.py"], ids=name_of
)
def test_own_modules_are_imported_at_the_top(path):
    """An import of our own code inside a function is how a cycle hides."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = [
        f"line {inner.lineno}"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
        if isinstance(inner, ast.ImportFrom) and (inner.module or "").startswith("vl2")
    ]
    assert not hidden, f"{name_of(path)} imports vl2 inside a function: {hidden}"


def test_no_rooms_without_a_name():
    refused = {"utils", "util", "helpers", "helper", "common", "misc", "base"}
    found = [
        name_of(p) for p in MODULES if refused & {*p.relative_to(SOURCE).with_suffix("").parts}
    ]
    assert not found


def test_every_verb_has_its_file_and_every_file_of_a_verb_is_listed():
    files = (p for p in (SOURCE / "cli").glob("*.py") if p.name != "__init__.py")
    with_command = {p.stem for p in files if "\ndef command(" in p.read_text(encoding="utf-8")}
    assert with_command == set(cli.VERBS)


def test_the_floor_plan_holds(repository):
    linter = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("import-linter is not installed")
    done = subprocess.run([linter], cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
