"""What can go wrong, as types.

Every error that a user can cause derives from `VL2Error` and carries one clear sentence: what was
wrong, with the value, and what to do about it. The command line prints that sentence and leaves
with exit code 2; any other exception is a defect of the library.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_USER_ERROR = 2
"""The exit code of the command line where its user made a mistake."""


class VL2Error(Exception):
    """Base of all errors that the library raises on purpose."""


class InputError(VL2Error, ValueError):
    """The user handed in something that cannot be worked with."""

    @classmethod
    def unknown(cls, kind: str, name: str, known: Iterable[str]) -> InputError:
        """Say that there is no `kind` of this name, which is the nearest, and which there are."""
        names = tuple(known)
        near = did_you_mean(name, names)
        return cls(f"There is no {kind} {name!r}.{near} Choose among {', '.join(names)}.")


class ImageError(InputError):
    """A picture cannot be opened, is too large, or is not a picture."""


class ConversationError(InputError):
    """Roles, their order, or the counts of `<image>` and pictures do not fit together."""


class ContextError(InputError):
    """A conversation needs more tokens than the model's context holds.

    The message names the tokens of each image and the ways out (fewer images, fewer tiles).
    """


class CheckpointError(VL2Error):
    """A model folder is absent, corrupt, incomplete, or not a DeepSeek-VL2."""


class BusyError(VL2Error):
    """The queue of an engine is full: ask again when some of its work is done."""


class EngineError(VL2Error):
    """An answer failed while it was computed; other answers are not concerned.

    The model gave numbers that are not finite, the device ran out of memory, or the engine was
    closed.
    """


class TrainingError(VL2Error):
    """A run cannot go on: what it computes are no numbers any more."""


class MissingExtraError(VL2Error):
    """An optional dependency is not installed."""

    @classmethod
    def for_extra(cls, extra: str, purpose: str) -> MissingExtraError:
        """Say which extra brings what `purpose` needs.

        Args:
            extra: name of the extra in the package's metadata, e.g. `"serve"`.
            purpose: what the user wanted, as a noun, e.g. `"The web page"`.
        """
        return cls(f"{purpose} needs optional packages: install them with {installing(extra)}.")


def installing(extra: str) -> str:
    """The commands that install an extra: of the package, and of a checkout of its code."""
    return f"pip install 'vl2[{extra}]' (in a checkout: pip install -e '.[{extra}]')"


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """The sentence that names the known name nearest to a wrong one: ` Did you mean 'ask'?`.

    It begins with a blank, to follow the sentence that says what is wrong; capitals do not count.
    Empty where nothing is near.
    """
    names = {name.lower(): name for name in known}
    near = difflib.get_close_matches(wrong.lower(), names, n=1)
    return f" Did you mean {names[near[0]]!r}?" if near else ""
