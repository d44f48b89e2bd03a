"""What a check finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["fine", "odd", "wrong", "not checked"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: what was looked at.
        state: `fine`; `odd`, which works but should not be so; `wrong`; or `not checked`.
        told: what was seen, in a sentence.
        advice: what to do, if there is something to do.
    """

    check: str
    state: State
    told: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        """The finding as JSON shows it."""
        return asdict(self)
