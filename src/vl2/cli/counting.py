"""A line on standard error that says how far something is; gone when it is done.

Nothing is written where no terminal would show it. Reading documents has a line of its own
(`vl2.cli.pace`), which tells pages a second.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@dataclass(frozen=True, slots=True)
class Count:
    """How many are done."""

    _shown: "Progress"
    _line: "TaskID"

    def add(self, more: int = 1) -> None:
        """Some more are done."""
        self._shown.advance(self._line, more)

    def reach(self, done: int, total: int | None = None) -> None:
        """So many are done, of as many as there are known to be."""
        self._shown.update(self._line, completed=done, total=total)

    def name(self, label: str) -> None:
        """Say what is done now."""
        self._shown.update(self._line, description=label)


@contextlib.contextmanager
def counting(
    label: str, things: str, total: int | None = None, *, quiet: bool = False
) -> Iterator[Count]:
    """Show what is done, how many things of how many, and the time that the rest will take."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(things),
        Remaining(),
        console=console,
        disable=quiet or not console.is_terminal,
        transient=True,
    ) as shown:
        yield Count(shown, shown.add_task(label, total=total))
