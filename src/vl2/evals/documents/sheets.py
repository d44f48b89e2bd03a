"""A white page and a pen that goes down it."""

from __future__ import annotations

from collections.abc import Sequence

import PIL.Image
from PIL import ImageDraw

from vl2.synth.fonts import open_font

_LEADING = 1.4
_INK, _FAINT = (20, 20, 24), (150, 150, 158)


class Sheet:
    """A page; what is written goes below what was written before.

    Args:
        pixels: width and height.
        font: a font of `vl2.synth.fonts` that has a bold sister.
        size: of letters, in pixels to the em.
        margin: on all sides, in pixels.
    """

    def __init__(
        self, pixels: tuple[int, int], font: str, size: int = 26, margin: int = 90
    ) -> None:
        self.picture = PIL.Image.new("RGB", pixels, (255, 255, 255))
        self._pen = ImageDraw.Draw(self.picture)
        self._font, self._size, self._left = font, size, margin
        self._wide, self._y = pixels[0] - 2 * margin, float(margin) * 0.6

    def skip(self, pixels: float) -> None:
        """Leave some room."""
        self._y += pixels

    def line(
        self, words: str, *, size: int | None = None, bold: bool = False, align: float = 0.0
    ) -> None:
        """Write a line; `align` is 0 for the left edge, 0.5 for the middle."""
        letters = self._letters(size, bold)
        x = self._left + align * (self._wide - letters.getlength(words))
        self._pen.text((x, self._y), words, _INK, letters)
        self._y += _LEADING * (size or self._size)

    def paragraph(self, words: str) -> None:
        """Write text over as many lines as it takes."""
        letters, line = self._letters(None, False), ""
        for word in words.split():
            longer = f"{line} {word}".strip()
            if line and letters.getlength(longer) > self._wide:
                self.line(line)
                longer = word
            line = longer
        self.line(line)

    def pair(self, name: str, value: str, at: float) -> None:
        """Write a name, and its value at a share of the width, in one line."""
        letters = self._letters(None, False)
        self._pen.text((self._left + at * self._wide, self._y), value, _INK, letters)
        self.line(name)

    def rule(self, start: float = 0.0, end: float = 1.0) -> None:
        """Draw a line across, between two shares of the width."""
        x1, x2 = (self._left + share * self._wide for share in (start, end))
        self._pen.line((x1, self._y + 4, x2, self._y + 4), _FAINT, 2)
        self._y += 14

    def table(
        self,
        rows: Sequence[Sequence[str]],
        edges: Sequence[float],
        right_from: int,
        head: bool = True,
    ) -> None:
        """Write rows; cells begin at their edges, from a column on they end there.

        Args:
            rows: of cells.
            edges: shares of the width, one a column.
            right_from: the first column that is set to the right.
            head: whether the first row is bold and underlined.
        """
        for number, row in enumerate(rows):
            letters = self._letters(None, head and number == 0)
            for column, (cell, edge) in enumerate(zip(row, edges, strict=True)):
                x = self._left + edge * self._wide
                x -= letters.getlength(cell) if column >= right_from else 0
                self._pen.text((x, self._y), cell, _INK, letters)
            self._y += _LEADING * self._size
            if head and number == 0:
                self.rule()

    def _letters(self, size: int | None, bold: bool):  # noqa: ANN202 - either kind of Pillow's fonts
        return open_font(f"{self._font}-Bold" if bold else self._font, size or self._size)
