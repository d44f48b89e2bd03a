"""What a document may take."""

from __future__ import annotations

from dataclasses import dataclass, fields

from vl2.errors import InputError

_MOST_SECONDS = 86_400
_LEAST_MEMORY = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """What a document and each of its pages may take; more ends in an error of that document.

    Attributes:
        seconds: of the clock and of the processor, for opening a document and for each page.
        memory: bytes that rendering may take beyond an idle process; held on Linux only.
        pixels: of a rendered page; a larger one is rendered at a lower resolution. Of pictures
            the house's own limits hold (`vl2.processing.images.Limits`).
        pages: that are read of one document.
        bytes: of a document's file.
        failures: pages of a document that crash or time out before the rest is given up.
    """

    seconds: float = 30.0
    memory: int = 2 * 2**30
    pixels: int = 40_000_000
    pages: int = 2000
    bytes: int = 2 * 2**30
    failures: int = 5

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not value > 0:
                raise InputError(f"The limit of {entry.name} must be above 0, got {value}.")
        if self.memory < _LEAST_MEMORY:
            raise InputError(
                f"No page can be rendered in {self.memory / 2**20:.3g} MiB of memory: allow at "
                f"least {_LEAST_MEMORY // 2**20} MiB."
            )
        if self.seconds > _MOST_SECONDS:
            raise InputError(
                f"A page may take a day ({_MOST_SECONDS} s) at most, got {self.seconds}."
            )
