"""Reading the documents: fenced blocks, commands and links.

A fenced block of the README or a page of `docs/guide` is run: `console` blocks line by line (`$ `
marks a command; lines below it are what it prints, `...` stands for anything), `python` blocks one
after the other in one namespace per page. A block whose first line starts with `NOT_RUN` is not
run, and says why; its commands must still parse and its Python must still compile.
"""

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
NOT_RUN = "# not run by the tests: "

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs" / "guide").glob("*.md"))]
DOCUMENTS = [
    *sorted(REPOSITORY.glob("*.md")),
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language, its lines."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def is_run(self):
        return not self.text.startswith(NOT_RUN)

    @property
    def name(self):
        return f"{self.page.stem}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A line after `$ `, and the lines that it is said to print."""

    words: str
    output: str


def blocks(page):
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, m.start()) + 1, m.group(1), m.group(2))
        for m in _FENCE.finditer(text)
    ]


def commands(block):
    """The commands of a console block; a backslash continues a line."""
    found = []
    for line in re.sub(r"\\\n\s*", "", block.text).splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:].strip(), ""))
        elif found and not line.startswith("#"):
            last = found.pop()
            found.append(Command(last.words, f"{last.output}{line}\n"))
    return found


def without_code(text):
    return re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text))


def links(page):
    return _LINK.findall(without_code(page.read_text(encoding="utf-8")))


def anchors(page):
    """The anchors of a page's headings, spelt as the usual renderers do."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
