"""Line charts: one line through a point for each name."""

import random

from PIL import Image, ImageDraw

from vl2.synth import axes, charts, topics
from vl2.synth.backgrounds import RGB
from vl2.synth.charts import Chart
from vl2.synth.drawn import Drawn
from vl2.synth.layouts import layout
from vl2.synth.painter import apt_colours, jittered
from vl2.synth.paper import Press, is_legible, mixed, style, widest

FEATURES = {
    **axes.FEATURES,
    "points": ("discs", "squares", "rings"),
    "names": ("months", "years", "words"),
    "below": ("plain", "plain", "filled"),
}
_SUPERSAMPLING = 2
_LEAST_PRINTED = 0.3
"""Points whose values are printed lie at least this high, as a part of the scale, so that there is
room for print below them."""


def _said(rng: random.Random, features: dict[str, str], held_out: bool) -> Chart:
    count = rng.randint(3, 5)
    if features["names"] == "months":
        first = rng.randint(0, len(topics.MONTHS) - count)
        names = list(topics.MONTHS[first : first + count])
    elif features["names"] == "years":
        first = rng.randint(1950, 2024 - count)
        names = [str(first + i) for i in range(count)]
    else:
        names = charts.words(rng, count, held_out=held_out, longest=4)
    printed = axes.is_printed(features)
    least = _LEAST_PRINTED if printed else 0.12
    values, top = charts.values(rng, count, on_scale=not printed, least=least)
    return Chart(tuple(names), tuple(values), top)


def draw(rng: random.Random, *, held_out: bool) -> Drawn | None:
    """A line chart; None if it came out too large to be legible."""
    features = layout(rng, FEATURES, held_out=held_out)
    looks, said = style(rng, held_out=held_out), _said(rng, features, held_out)
    title, size = axes.title_of(rng, features, held_out=held_out), looks.size
    room = axes.margins(said, looks, features, title)
    slot = widest(said.names, looks.letters) + rng.uniform(0.5, 1.2) * size
    right = max(room.right, 0.5 * widest(said.printed, looks.letters))
    width = round(room.left + slot * len(said.names) + right)
    height = round(room.top + rng.uniform(5, 9) * size + room.bottom)
    if not is_legible(width, height, looks.letters):
        return None
    plot = axes.Plot(room.left, room.top, width - right, height - room.bottom, said.top)
    s = _SUPERSAMPLING
    ground = Image.new("RGB", (s * width, s * height), looks.paper)
    ink = jittered(rng, looks.ink)
    pen = ImageDraw.Draw(ground)
    axes.draw_grid(pen, said, plot, features, (mixed(looks.paper, ink, 0.25), ink), s)
    colour = jittered(rng, rng.choice(apt_colours((looks.paper,), text=False)))
    _draw_line(pen, said, plot, features, (colour, looks.paper))
    press = Press(rng, width, height, looks, ground.reduce(s))
    axes.write_title(press, title, features)
    if axes.has_scale(features):
        axes.write_scale(press, said, plot)
    for name, (x, _) in zip(said.names, _points(said, plot), strict=True):
        press.write(name, x, plot.y2 + 1.2 * size, align=0.5)
    if axes.is_printed(features):
        _write_values(press, said, plot)
    return Drawn((press.scene(),), charts.asks(said))


def _points(said: Chart, plot: axes.Plot) -> list[tuple[float, float]]:
    slot = (plot.x2 - plot.x1) / len(said.names)
    return [(plot.x1 + (i + 0.5) * slot, plot.along(value)) for i, value in enumerate(said.values)]


def _write_values(press: Press, said: Chart, plot: axes.Plot) -> None:
    """Prints values where the line does not go: in a dip below it, on a slope beside it."""
    size, points = press.style.size, _points(said, plot)
    for i, (x, y) in enumerate(points):
        left = i > 0 and points[i - 1][1] < y
        right = i + 1 < len(points) and points[i + 1][1] < y
        if left and right:
            press.write(said.printed[i], x, y + 1.2 * size, align=0.5)
        else:
            aside = 0.3 * size * (left - right)
            align = 0.5 - 0.4 * (left - right)
            press.write(said.printed[i], x + aside, y - 0.45 * size, align=align)


def _draw_line(
    pen: ImageDraw.ImageDraw,
    said: Chart,
    plot: axes.Plot,
    features: dict[str, str],
    colours: tuple[RGB, RGB],
) -> None:
    """Draws the line and its points, in pixels of the enlarged picture."""
    s, (colour, paper) = _SUPERSAMPLING, colours
    points = [(s * x, s * y) for x, y in _points(said, plot)]
    if features["below"] == "filled":
        foot = s * plot.y2
        pen.polygon(
            [(points[0][0], foot), *points, (points[-1][0], foot)],
            fill=mixed(paper, colour, 0.25),
        )
    width = max(3, round((plot.y2 - plot.y1) * s / 45))
    pen.line(points, fill=colour, width=width, joint="curve")
    radius = 1.4 * width
    for x, y in points:
        box = (x - radius, y - radius, x + radius, y + radius)
        if features["points"] == "squares":
            pen.rectangle(box, fill=colour)
        else:
            inside = paper if features["points"] == "rings" else colour
            pen.ellipse(box, fill=inside, outline=colour, width=round(0.8 * width))
