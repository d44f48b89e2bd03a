"""What a check finds."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Literal

from vl2.errors import VL2Error

AGAIN = "Download the checkpoint again."

_REMEDY = re.compile(r"[;:] download (it|the checkpoint) again(?=[.,])")

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


def unusable(check: str, error: VL2Error) -> Finding:
    """What a check finds in files that the library refuses; the remedy is said once."""
    return Finding(check, "wrong", _REMEDY.sub("", str(error)), AGAIN)
