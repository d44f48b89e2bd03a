"""A question for each thing that the models can do, with bundled pictures."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import Any

_MARKED = (
    "<|grounding|>In the first image, an object within the red rectangle is marked. "
    "Locate the object of the same category in the second image."
)

_EXAMPLES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("A question", "What shape is red?", ("shapes",)),
    ("Reading", "What does the text say?", ("sign",)),
    ("A table", "Convert the table to Markdown.", ("table",)),
    ("A chart", "Which bar is the highest, and how high is it?", ("chart",)),
    ("Finding", "<|ref|>the blue circle<|/ref|>.", ("shapes",)),
    ("Finding what is marked", _MARKED, ("marked", "shapes")),
    ("Several pictures", "Which of the pictures show a star?", ("shapes", "sign", "mixed")),
)


def examples() -> tuple[list[str], list[dict[str, Any]]]:
    """Labels, and what is put into the box of the question."""
    folder = Path(str(importlib.resources.files("vl2"))) / "assets" / "pictures"
    values = [
        {"text": question, "files": [str(folder / f"{name}.png") for name in names]}
        for _, question, names in _EXAMPLES
    ]
    return [label for label, _, _ in _EXAMPLES], values
