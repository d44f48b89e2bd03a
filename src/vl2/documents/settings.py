"""What is asked of documents, by which model: what a result depends on."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from vl2.documents.pages import PageChoice
from vl2.documents.tasks import Task
from vl2.errors import InputError

FORMAT = 1
"""Number of the form of result files; a new one makes everything be read anew."""

TextLayer: TypeAlias = Literal["prefer", "compare", "ignore"]

MIN_DPI, MAX_DPI = 20, 1200

_SAMPLE = 2**20
_NOT_IN_NAMES = re.compile(r"[^\w-]+")
_LONGEST_NAME = 60
_HASH = 16
_FOLDER_NAME = re.compile(rf".+-[0-9a-f]{{{_HASH}}}")


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked of each document.

    Attributes:
        tasks: what is asked of each page, in this order.
        engine: `local`, or how a server is spoken to.
        model: name or folder, or what the server calls it.
        dtype: type of the weights, as it was asked for.
        fingerprint: of the model's weights.
        pages: which pages.
        dpi: resolution that pages of PDFs are rendered in.
        text_layer: what becomes of a PDF's own text: `prefer` takes it as the text of its page,
            `compare` flags pages whose reading differs from it, `ignore` does without it.
        across: tiles that a long page is shown wide at least (`vl2.documents.bands`).
        max_tokens: length limit of an answer.
    """

    tasks: tuple[Task, ...]
    engine: str = "local"
    model: str = "nano"
    dtype: str = "auto"
    fingerprint: str = ""
    pages: PageChoice = field(default_factory=PageChoice)
    dpi: int = 144
    text_layer: TextLayer = "prefer"
    across: int = 2
    max_tokens: int = 2048

    def __post_init__(self) -> None:
        if not self.tasks:
            raise InputError("Nothing is asked of the documents: name at least one task.")
        if len(set(self.tasks)) < len(self.tasks):
            raise InputError("The same thing is asked twice: name each task once.")
        if sum(task.kind == "fields" for task in self.tasks) > 1:
            raise InputError("Give fields or a schema, not both: a page has one JSON object.")
        if not MIN_DPI <= self.dpi <= MAX_DPI:
            raise InputError(f"The dpi must be from {MIN_DPI} to {MAX_DPI}, got {self.dpi}.")
        if not 1 <= self.across <= 9:
            raise InputError(f"A page is shown 1 to 9 tiles wide, got {self.across}.")
        if self.max_tokens < 1:
            raise InputError(f"max_tokens must be at least 1, got {self.max_tokens}.")
        if self.text_layer not in get_args(TextLayer):
            raise InputError(
                f"The text layer may be {', '.join(get_args(TextLayer))}, got {self.text_layer!r}."
            )

    def as_dict(self) -> dict[str, Any]:
        """The settings as a result shows them."""
        return {
            "tasks": [task.as_dict() for task in self.tasks],
            "engine": self.engine,
            "model": self.model,
            "dtype": self.dtype,
            "fingerprint": self.fingerprint,
            "pages": str(self.pages),
            "dpi": self.dpi,
            "text_layer": self.text_layer,
            "across": self.across,
            "max_tokens": self.max_tokens,
        }

    def key(self, digest: str) -> str:
        """What a reading of a document with these settings is known by.

        Args:
            digest: of the document's bytes.
        """
        text = json.dumps([FORMAT, digest, self.as_dict()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:_HASH]


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        OSError: it cannot be read.
    """
    told = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_SAMPLE):
            told.update(data)
    return told.hexdigest()


def fingerprint_of(folder: Path) -> str:
    """What tells the weights in a folder from others, without reading all of them.

    The configuration and, of each file of weights, its size, its first and its last MiB.
    """
    told = hashlib.sha256()
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
        size = path.stat().st_size
        told.update(f"{path.name} {size} ".encode())
        with path.open("rb") as file:
            told.update(file.read(_SAMPLE))
            file.seek(max(size - _SAMPLE, 0))
            told.update(file.read(_SAMPLE))
    return told.hexdigest()[:_HASH]


def folder_name(path: Path, key: str) -> str:
    """The name of a document's folder: so that people know it, and so that nothing else has it."""
    stem = _NOT_IN_NAMES.sub("-", path.stem).strip("-")[:_LONGEST_NAME] or "document"
    return f"{stem}-{key}"


def is_folder_name(name: str) -> bool:
    """Whether a folder is called as `folder_name` calls them."""
    return _FOLDER_NAME.fullmatch(name) is not None
