"""How much an engine takes on."""

from __future__ import annotations

from dataclasses import dataclass, fields

from vl2.errors import InputError


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an engine takes on.

    Attributes:
        cache_tokens: tokens that all conversations may have in the cache together; None for four
            full contexts.
        running: answers that are worked on at the same time.
        waiting: requests that may wait for that.
        step_tokens: tokens of prompts that go through the model in a step while no answer is being
            written.
        shared_step_tokens: the same while answers are being written: less, or these would stand
            still for long.
        tiles: tiles that are encoded in a step while no answer is being written; otherwise one.
        picture_bytes: memory for encoded pictures that may be asked about again.

    Raises:
        InputError: a number that is too small.
    """

    cache_tokens: int | None = None
    running: int = 32
    waiting: int = 256
    step_tokens: int = 1024
    shared_step_tokens: int = 256
    tiles: int = 4
    picture_bytes: int = 128 * 2**20

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in ("picture_bytes", "waiting") else 1
            if value is not None and value < least:
                raise InputError(f"{field.name} must be at least {least}, got {value}.")
