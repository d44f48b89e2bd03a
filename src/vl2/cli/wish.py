"""What the command line asks of `vl2 read`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vl2.documents.rendering.limits import Limits
    from vl2.documents.tasks import Task


@dataclass(frozen=True, slots=True)
class Wish:
    """The options of `vl2 read`, under their names."""

    inputs: tuple[str, ...]
    out: Path
    tasks: tuple[Task, ...]
    pages: str
    dpi: int
    text_layer: Any
    across: int
    max_tokens: int
    model: str
    engine: str
    url: str | None
    offline: bool
    parallel: int
    limits: Limits
    retry: bool
    report: bool
    device: str
    dtype: str
    memory: str | None
    workers: int | None
    ray: str | None
    quiet: bool
