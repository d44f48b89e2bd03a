"""Pie and ring charts with a legend."""

import itertools
import math
import random

from PIL import Image, ImageDraw

from vl2.synth import charts, topics
from vl2.synth.backgrounds import RGB
from vl2.synth.charts import Chart
from vl2.synth.drawn import Drawn
from vl2.synth.layouts import layout
from vl2.synth.names import COLOURS
from vl2.synth.painter import apt_colours, jittered
from vl2.synth.paper import Press, Style, is_legible, style, widest, width_of
from vl2.synth.things import Thing

FEATURES = {
    "legend": ("right", "right", "left", "below"),
    "shares": ("slices", "legend"),
    "middle": ("full", "full", "hole"),
    "edges": ("none", "paper", "ink"),
    "title": ("none", "none", "shown"),
}
_SUPERSAMPLING = 2
_LEAST = {"slices": 14, "legend": 8}
_SWATCH = 1.3
"""The room of a legend's swatch, in sizes of the font."""


def draw(rng: random.Random, *, held_out: bool) -> Drawn | None:
    """A pie chart; None if it came out too large to be legible."""
    features = layout(rng, FEATURES, held_out=held_out)
    looks, count = style(rng, held_out=held_out), rng.randint(2, 4)
    if features["middle"] == "hole":
        features["shares"] = "legend"
    names = charts.words(rng, count, held_out=held_out, longest=6)
    values = charts.shares(rng, count, _LEAST[features["shares"]])
    said = Chart(tuple(names), tuple(values), 100, "%")
    title = topics.pick(rng, "heads", 1, held_out=held_out)[0].capitalize()
    title = title if features["title"] == "shown" else ""
    press = _drawn(rng, said, looks, features, title)
    return Drawn((press.scene(),), charts.asks(said)) if press else None


def _rows(said: Chart, features: dict[str, str]) -> list[str]:
    """What the legend says."""
    if features["shares"] == "slices":
        return list(said.names)
    return [f"{name} {share}" for name, share in zip(said.names, said.printed, strict=True)]


def _drawn(
    rng: random.Random, said: Chart, looks: Style, features: dict[str, str], title: str
) -> Press | None:
    """The sheet; None if it is too large to be legible, or print runs into print."""
    size, rows = looks.size, _rows(said, features)
    across = size * rng.uniform(5.5, 8.5)
    legend = (_SWATCH * size + widest(rows, looks.letters), 1.4 * size * len(rows))
    gap, top = 0.7 * size, (2.2 if title else 0.7) * size
    if features["legend"] == "below":
        width, height = max(across, legend[0]) + 2 * gap, top + across + gap + legend[1] + gap
        pie = (width / 2, top + across / 2)
        corner = ((width - legend[0]) / 2, top + across + gap)
    else:
        width = across + legend[0] + 3 * gap
        height = top + max(across, legend[1]) + gap
        middle = top + max(across, legend[1]) / 2
        is_right = features["legend"] == "right"
        pie = (gap + across / 2 if is_right else width - gap - across / 2, middle)
        corner = (2 * gap + across if is_right else gap, middle - legend[1] / 2)
    width = max(width, width_of(title, looks.heavy) + 2 * gap) if title else width
    if not is_legible(width, height, looks.letters):
        return None
    chosen = _colours(rng, looks, len(rows))
    start = rng.uniform(0, 360)
    ground = _slices(
        (round(width), round(height)), said, looks, features, (pie, across / 2, start, chosen)
    )
    press = Press(rng, width, height, looks, ground)
    if title:
        press.write(title, width / 2, 1.5 * size, letters=looks.heavy, align=0.5)
    for i, row in enumerate(rows):
        base = corner[1] + (1.4 * i + 1.05) * size
        x = corner[0]
        press.fill(x, base - 0.75 * size, x + 0.8 * size, base + 0.05 * size, chosen[i][1])
        press.write(row, x + _SWATCH * size, base)
    if features["shares"] == "slices":
        _write_shares(press, said, (pie, across / 2, start, chosen))
        if _touch(press.painter.things[-len(rows) :]):
            return None
    return press


def _touch(shares: list[Thing]) -> bool:
    """Whether shares printed on slices run into each other."""
    return any(
        min(a.x2, b.x2) - max(a.x1, b.x1) > 1 and min(a.y2, b.y2) - max(a.y1, b.y1) > 1
        for a, b in itertools.combinations(shares, 2)
    )


_Pie = tuple[tuple[float, float], float, float, list[tuple[str, RGB]]]
"""Its middle, its radius, the angle where it begins in degrees, and the colours of its slices."""


def _colours(rng: random.Random, looks: Style, count: int) -> list[tuple[str, RGB]]:
    apt = [name for name in COLOURS if name in apt_colours((looks.paper,), text=False)]
    return [(name, jittered(rng, name)) for name in rng.sample(apt, count)]


def _slices(
    size: tuple[int, int], said: Chart, looks: Style, features: dict[str, str], pie: _Pie
) -> Image.Image:
    """The paper with the slices on it."""
    s, ((x, y), radius, angle, colours) = _SUPERSAMPLING, pie
    ground = Image.new("RGB", (s * size[0], s * size[1]), looks.paper)
    pen = ImageDraw.Draw(ground)
    box = [s * (x - radius), s * (y - radius), s * (x + radius), s * (y + radius)]
    edge = {"none": None, "paper": looks.paper, "ink": COLOURS[looks.ink]}[features["edges"]]
    for share, (_, value) in zip(said.values, colours, strict=True):
        end = angle + 3.6 * share
        pen.pieslice(box, angle, end, fill=value, outline=edge, width=s)
        angle = end
    if features["middle"] == "hole":
        hole = 0.5 * radius
        pen.ellipse(
            [s * (x - hole), s * (y - hole), s * (x + hole), s * (y + hole)],
            fill=looks.paper,
            outline=edge,
        )
    return ground.reduce(s)


def _write_shares(press: Press, said: Chart, pie: _Pie) -> None:
    """Prints the shares on the slices, in black or white."""
    (x, y), radius, angle, colours = pie
    size = press.style.size
    for share, printed, (name, value) in zip(said.values, said.printed, colours, strict=True):
        middle = math.radians(angle + 1.8 * share)
        angle += 3.6 * share
        ink = "black" if "black" in apt_colours((COLOURS[name], value), text=True) else "white"
        at = (x + 0.62 * radius * math.cos(middle), y + 0.62 * radius * math.sin(middle))
        press.write(printed, at[0], at[1] + 0.34 * size, align=0.5, ink=(ink, COLOURS[ink]))
