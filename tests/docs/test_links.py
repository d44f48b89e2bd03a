"""Links inside the repository lead somewhere, and nothing private is named."""

import re

import pytest
from pages import DOCUMENTS, REPOSITORY, anchors, links


def name_of(page):
    return page.relative_to(REPOSITORY).as_posix()


@pytest.mark.parametrize("page", DOCUMENTS, ids=name_of)
def test_relative_links_resolve(page):
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)} links to {link}, which does not exist"
        if anchor:
            assert anchor in anchors(target), f"{name_of(page)} links to {link}: no such heading"


@pytest.mark.parametrize("page", DOCUMENTS, ids=name_of)
def test_paths_in_backticks_exist(page):
    """`src/...`, `tests/...` and `docs/...` in running text are files or folders."""
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:src|tests|docs|requirements|benchmarks)/[\w./-]+)`", text):
        if not re.search(r"[<>*]", path):
            assert (REPOSITORY / path).exists(), f"{name_of(page)} names {path}"


def test_every_decision_is_numbered_in_order():
    numbers = [p.name[:4] for p in sorted((REPOSITORY / "docs" / "decisions").glob("*.md"))]
    assert numbers == [f"{i:04d}" for i in range(1, len(numbers) + 1)]
