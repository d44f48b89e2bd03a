"""Every Python example in the README and the guide runs, or at least compiles."""

import re

import pytest
from pages import PAGES, REPOSITORY, blocks

import vl2


def python_blocks(page):
    return [b for b in blocks(page) if b.language == "python"]


WITH_PYTHON = [page for page in PAGES if python_blocks(page)]


def name_of(page):
    return page.relative_to(REPOSITORY).as_posix()


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_examples_compile_and_name_what_exists(page):
    for block in python_blocks(page):
        compile(block.text, block.name, "exec")
        for name in re.findall(r"\bvl2\.(\w+)\(", block.text):
            assert name in vl2.__all__, f"{block.name} calls vl2.{name}"


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_examples_run(page, nano, workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    names = {"__name__": "__main__"}
    for block in python_blocks(page):
        if block.is_run:
            exec(compile(block.text, block.name, "exec"), names)
