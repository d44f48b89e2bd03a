"""Bar charts, upright or on their side."""

import random

from vl2.synth import axes, charts
from vl2.synth.backgrounds import RGB
from vl2.synth.charts import Chart
from vl2.synth.drawn import Drawn
from vl2.synth.layouts import layout
from vl2.synth.painter import apt_colours, jittered
from vl2.synth.paper import Press, Style, is_legible, mixed, style, widest

FEATURES = {
    **axes.FEATURES,
    "direction": ("up", "up", "right"),
    "colours": ("one", "many", "one largest"),
    "edges": ("none", "none", "ink"),
}

BARS = (2, 5)
_LONGEST = {1: 7, 2: 7, 3: 6, 4: 5, 5: 4}
"""Letters of the longest name, by how many stand beside each other."""


def _said(
    rng: random.Random, features: dict[str, str], held_out: bool, bars: tuple[int, int]
) -> Chart:
    upright = features["direction"] == "up"
    count = rng.randint(*bars)
    names = charts.words(rng, count, held_out=held_out, longest=_LONGEST[count])
    if not upright:
        names = charts.words(rng, count, held_out=held_out, longest=7)
    values, top = charts.values(rng, count, on_scale=not axes.is_printed(features))
    return Chart(tuple(names), tuple(values), top, rng.choice(("", "", "", "$")))


def draw(rng: random.Random, *, held_out: bool, bars: tuple[int, int] = BARS) -> Drawn | None:
    """A bar chart; None if it came out too large to be legible."""
    features = layout(rng, FEATURES, held_out=held_out)
    looks, said = style(rng, held_out=held_out), _said(rng, features, held_out, bars)
    title = axes.title_of(rng, features, held_out=held_out)
    upright = features["direction"] == "up"
    found = (_upright if upright else _lying)(rng, said, looks, features, title)
    if found is None:
        return None
    press, plot = found
    axes.write_title(press, title, features)
    colours = (mixed(looks.paper, press.ink, 0.25), press.ink)
    axes.draw_grid(press.pen, said, plot, features, colours)
    if axes.has_scale(features):
        axes.write_scale(press, said, plot)
    _draw_bars(press, said, plot, features)
    return Drawn((press.scene(),), charts.asks(said))


def _upright(
    rng: random.Random, said: Chart, looks: Style, features: dict[str, str], title: str
) -> tuple[Press, axes.Plot] | None:
    size, room = looks.size, axes.margins(said, looks, features, title)
    print_ = max(widest(said.names, looks.letters), widest(said.printed, looks.letters))
    slot = max(print_ + 0.5 * size, rng.uniform(1.5, 3) * size)
    width = room.left + slot * len(said.names) + room.right
    height = room.top + rng.uniform(5, 9) * size + room.bottom
    if not is_legible(width, height, looks.letters):
        return None
    press = Press(rng, width, height, looks)
    x2, y2 = width - room.right, height - room.bottom
    return press, axes.Plot(room.left, room.top, x2, y2, said.top)


def _lying(
    rng: random.Random, said: Chart, looks: Style, features: dict[str, str], title: str
) -> tuple[Press, axes.Plot] | None:
    size = looks.size
    left = widest(said.names, looks.letters) + 0.9 * size
    top = (2.0 if title else 0.6) * size
    printed = widest(said.printed, looks.letters) + 0.4 * size
    right = 0.7 * size + (printed if axes.is_printed(features) else 0.5 * size)
    bottom = 1.8 * size if axes.has_scale(features) else 0.6 * size
    length = rng.uniform(4, 8) * size
    if axes.has_scale(features):
        length = max(length, len(said.ticks) * (widest(said.ticks, looks.letters) + 0.4 * size))
    width = left + length + right
    height = top + len(said.names) * rng.uniform(1.5, 2.2) * size + bottom
    if not is_legible(width, height, looks.letters):
        return None
    press = Press(rng, width, height, looks)
    plot = axes.Plot(left, top, width - right, height - bottom, said.top, upright=False)
    return press, plot


def _colours(press: Press, said: Chart, kind: str) -> list[RGB]:
    rng = press.painter.rng
    apt = sorted(set(apt_colours((press.style.paper,), text=False)))
    if kind == "many":
        drawn = rng.sample(apt, min(len(apt), len(said.names)))
        return [jittered(rng, drawn[i % len(drawn)]) for i in range(len(said.names))]
    usual, largest = (jittered(rng, name) for name in rng.sample(apt, 2))
    is_marked = kind == "one largest"
    return [largest if is_marked and v == max(said.values) else usual for v in said.values]


def _draw_bars(press: Press, said: Chart, plot: axes.Plot, features: dict[str, str]) -> None:
    size, rng = press.style.size, press.painter.rng
    sides = (plot.x1, plot.x2) if plot.upright else (plot.y1, plot.y2)
    slot = (sides[1] - sides[0]) / len(said.names)
    half = slot * rng.uniform(0.22, 0.42)
    outline = press.ink if features["edges"] == "ink" else None
    colours = _colours(press, said, features["colours"])
    for i, (name, value) in enumerate(zip(said.names, said.values, strict=True)):
        middle, end = sides[0] + (i + 0.5) * slot, plot.along(value)
        if plot.upright:
            box = (middle - half, end, middle + half, plot.y2)
            press.write(name, middle, plot.y2 + 1.2 * size, align=0.5)
        else:
            box = (plot.x1, middle - half, end, middle + half)
            press.write(name, plot.x1 - 0.4 * size, middle + 0.34 * size, align=1.0)
        press.pen.rectangle([round(edge) for edge in box], fill=colours[i], outline=outline)
        if axes.is_printed(features):
            if plot.upright:
                press.write(said.printed[i], middle, end - 0.3 * size, align=0.5)
            else:
                press.write(said.printed[i], end + 0.4 * size, middle + 0.34 * size)
