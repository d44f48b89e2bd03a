"""The frame of a bar or line chart: title, scale and grid."""

import random
from dataclasses import dataclass

from PIL import ImageDraw

from vl2.synth import topics
from vl2.synth.backgrounds import RGB
from vl2.synth.charts import Chart
from vl2.synth.paper import Press, Style, widest, width_of

FEATURES = {
    "values": ("printed", "printed", "scale", "both"),
    "grid": ("none", "lines", "dots"),
    "axis": ("both", "names", "none"),
    "title": ("none", "none", "left", "centre"),
}
"""What bar and line charts have in common; "both" means printed values and a scale."""


@dataclass(frozen=True, slots=True)
class Margins:
    """The room around the plot in pixels."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Plot:
    """The area of a chart that holds its bars or its line; values grow upwards or to the right."""

    x1: float
    y1: float
    x2: float
    y2: float
    top: int
    upright: bool = True

    def along(self, value: float) -> float:
        """Where a value lies: the y, or, if the chart lies on its side, the x."""
        share = value / self.top
        if self.upright:
            return self.y2 - share * (self.y2 - self.y1)
        return self.x1 + share * (self.x2 - self.x1)


def title_of(rng: random.Random, features: dict[str, str], *, held_out: bool) -> str:
    """A word above the chart, or nothing."""
    found = topics.pick(rng, "heads", 1, held_out=held_out)[0]
    return "" if features["title"] == "none" else found.capitalize()


def has_scale(features: dict[str, str]) -> bool:
    """Whether the chart has a scale."""
    return features["values"] != "printed"


def is_printed(features: dict[str, str]) -> bool:
    """Whether values are printed beside their bars or points."""
    return features["values"] != "scale"


def margins(said: Chart, looks: Style, features: dict[str, str], title: str) -> Margins:
    """The room that an upright chart needs around its plot."""
    size = looks.size
    scale = widest(said.ticks, looks.letters) + 0.7 * size if has_scale(features) else 0.5 * size
    top = 0.7 * size + (1.5 * size if title else 0) + (1.1 * size if is_printed(features) else 0)
    return Margins(scale + 0.3 * size, top, 0.6 * size, 1.7 * size)


def write_title(press: Press, title: str, features: dict[str, str]) -> None:
    """Prints the title at the top of the sheet."""
    if not title:
        return
    size, letters = press.style.size, press.style.heavy
    width = press.painter.width
    is_left = features["title"] == "left" or width_of(title, letters) > width - size
    press.write(
        title,
        0.6 * size if is_left else width / 2,
        1.5 * size,
        letters=letters,
        align=0.0 if is_left else 0.5,
    )


def draw_grid(
    pen: ImageDraw.ImageDraw,
    said: Chart,
    plot: Plot,
    features: dict[str, str],
    colours: tuple[RGB, RGB],
    scale: int = 1,
) -> None:
    """Draws grid lines and axes.

    Args:
        pen: What to draw with.
        said: The chart.
        plot: Its area, in pixels of the picture.
        features: The layout.
        colours: Of grid lines and of axes.
        scale: Pixels of the pen to one of the picture.
    """
    width = scale * max(1, round((plot.y2 - plot.y1) / 90))

    def line(x1: float, y1: float, x2: float, y2: float, colour: RGB) -> None:
        pen.line([round(scale * v) for v in (x1, y1, x2, y2)], fill=colour, width=width)

    steps = len(said.ticks) - 1
    for i in range(steps + 1) if has_scale(features) and features["grid"] != "none" else ():
        at = plot.along(plot.top * i / steps)
        start, end = (plot.x1, plot.x2) if plot.upright else (plot.y1, plot.y2)
        dash = 4 if features["grid"] == "dots" else end - start
        x = start
        while x < end - 1:
            stop = min(end, x + dash)
            line(*((x, at, stop, at) if plot.upright else (at, x, at, stop)), colours[0])
            x += 2 * dash
    if features["axis"] == "both":
        line(plot.x1, plot.y1, plot.x1, plot.y2, colours[1])
    if features["axis"] == "both" or (features["axis"] == "names" and plot.upright):
        line(plot.x1, plot.y2, plot.x2, plot.y2, colours[1])
    elif features["axis"] == "names":
        line(plot.x1, plot.y1, plot.x1, plot.y2, colours[1])


def write_scale(press: Press, said: Chart, plot: Plot) -> None:
    """Prints the scale: left of an upright plot, below one on its side."""
    size, steps = press.style.size, len(said.ticks) - 1
    for i, tick in enumerate(said.ticks):
        at = plot.along(plot.top * i / steps)
        if plot.upright:
            press.write(tick, plot.x1 - 0.4 * size, at + 0.34 * size, align=1.0)
        else:
            press.write(tick, at, plot.y2 + 1.2 * size, align=0.5)
