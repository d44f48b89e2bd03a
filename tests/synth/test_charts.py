"""Values of charts, measured again in the pixels."""

import itertools
import random
import re

import numpy as np
import pytest

from vl2.synth import bars, charts, curves, pies, sample

KINDS = ("bar_chart", "line_chart", "pie_chart")
BARE = {"grid": "none", "axis": "none", "title": "none"}


def quoted(question):
    return re.findall(r'"([^"]*)"', question)


def number(text):
    return int(text.strip("$%"))


@pytest.mark.parametrize("kind", KINDS)
def test_questions_of_one_chart_agree(kind):
    compared = 0
    for seed in range(120):
        turns = sample(seed, kinds={kind: 1.0}, turns=(12, 12)).turns
        values = {quoted(t.question)[0]: number(t.answer) for t in turns if t.task == "chart_value"}
        for turn in turns:
            if turn.task == "chart_difference":
                a, b = quoted(turn.question)
                if {a, b} <= set(values):
                    assert number(turn.answer) == values[a] - values[b] > 0
                    compared += 1
            elif turn.task == "chart_largest" and turn.answer in values:
                extreme = max if "largest" in turn.question else min
                assert values[turn.answer] == extreme(values.values())
                compared += 1
    assert compared > 100


@pytest.mark.parametrize("on_scale", [False, True])
def test_values_can_be_told_apart_and_read_off(on_scale):
    rng = random.Random(1)
    for _ in range(300):
        values, top = charts.values(rng, rng.randint(2, 5), on_scale=on_scale)
        assert all(0 < value <= top for value in values)
        assert 2 * max(values) >= top
        assert top % 4 == 0
        ordered = sorted(values)
        assert all(b - a >= 0.05 * top for a, b in itertools.pairwise(ordered))
        if on_scale:
            assert all(value * 8 % top == 0 for value in values)


def test_shares_are_percent():
    rng = random.Random(2)
    for count in (2, 3, 4):
        for _ in range(50):
            shares = charts.shares(rng, count, 14)
            assert (sum(shares), len(shares)) == (100, count)
            assert min(shares) >= 14


def fixed(monkeypatch, module, **features):
    """Charts of one module with these features."""
    chosen = {**{name: values[0] for name, values in module.FEATURES.items()}, **features}
    monkeypatch.setattr(module, "layout", lambda *_, **__: dict(chosen))
    drawn = (module.draw(random.Random(seed), held_out=False) for seed in range(80))
    return [found for found in drawn if found is not None]


def value_of(drawn, name):
    """The value that the chart is asked for by name."""
    for seed in range(200):
        question, answer = drawn.questions["chart_value"](random.Random(seed))
        if quoted(question) == [name]:
            return number(answer)
    raise AssertionError(name)


def names_of(drawn):
    found = [drawn.questions["chart_value"](random.Random(seed))[0] for seed in range(80)]
    return sorted({quoted(question)[0] for question in found})


def inked(scene):
    """Where a picture is not paper `[height, width]`."""
    pixels = np.asarray(scene.image).astype(int)
    return np.abs(pixels - pixels[1, 1]).sum(-1) > 40


@pytest.mark.parametrize("direction", ["up", "right"])
def test_bars_are_as_long_as_their_values(monkeypatch, direction):
    measured = 0
    for drawn in fixed(monkeypatch, bars, **BARE, values="scale", direction=direction):
        (scene,) = drawn.scenes
        ink, lengths = inked(scene), {}
        for name in names_of(drawn):
            thing = next(t for t in scene.things if t.name == name)
            x, y = (round(v) for v in thing.centre)
            if direction == "up":
                line = ink[: round(thing.y1) - 1, x][::-1]
            else:
                line = ink[y, round(thing.x2) + 2 :]
            start = int(np.argmax(line))
            rest = ~line[start:]
            lengths[name] = int(np.argmax(rest)) if rest.any() else len(rest)
        values = {name: value_of(drawn, name) for name in lengths}
        largest = max(values, key=values.get)
        for name, length in lengths.items():
            wanted = values[name] / values[largest] * lengths[largest]
            assert length == pytest.approx(wanted, abs=2.5), (values, lengths)
            measured += 1
    assert measured > 60


def test_points_lie_as_high_as_their_values(monkeypatch):
    measured = 0
    for drawn in fixed(monkeypatch, curves, **BARE, values="scale", below="plain"):
        (scene,) = drawn.scenes
        ink, names = inked(scene), names_of(drawn)
        heights = {}
        for thing in scene.things:
            if thing.name in names:
                x = round(thing.centre[0])
                column = np.flatnonzero(ink[: round(thing.y1) - 1, x])
                heights[thing.name] = (column.min() + column.max()) / 2
        ticks = {t.name: t.centre[1] for t in scene.things if t.name not in names}
        zero, top = ticks["0"], max(map(int, ticks))
        for name, y in heights.items():
            read = top * (zero - y) / (zero - ticks[str(top)])
            assert read == pytest.approx(value_of(drawn, name), abs=0.06 * top)
            measured += 1
    assert measured > 60


@pytest.mark.parametrize("kind", ["bar_chart", "line_chart"])
def test_printed_values_are_nearest_to_their_names(kind, monkeypatch):
    module = {"bar_chart": bars, "line_chart": curves}[kind]
    for drawn in fixed(monkeypatch, module, **BARE, values="printed"):
        (scene,) = drawn.scenes
        names = names_of(drawn)
        numbers = [t for t in scene.things if t.name not in names]
        assert len(numbers) == len(names)
        for thing in scene.things:
            if thing.name in names:
                near = min(numbers, key=lambda t, x=thing.centre[0]: abs(t.centre[0] - x))
                assert number(near.name) == value_of(drawn, thing.name)


def test_slices_are_as_large_as_their_shares(monkeypatch):
    measured = 0
    fixed_features = {"legend": "right", "shares": "legend", "middle": "full", "edges": "none"}
    for drawn in fixed(monkeypatch, pies, **fixed_features, title="none"):
        (scene,) = drawn.scenes
        pixels = np.asarray(scene.image).astype(int)
        ink, counts = inked(scene), {}
        for name in names_of(drawn):
            thing = next(t for t in scene.things if t.name == name)
            row = ink[round(thing.centre[1]), : round(thing.x1) - 2]
            swatch = pixels[round(thing.centre[1]), np.flatnonzero(row).max() - 1]
            same = np.abs(pixels - swatch).sum(-1) < 12
            counts[name] = int(
                same[:, : np.flatnonzero(row).max() - round(thing.y2 - thing.y1)].sum()
            )
        for name, count in counts.items():
            share = 100 * count / sum(counts.values())
            assert share == pytest.approx(value_of(drawn, name), abs=3), counts
            measured += 1
    assert measured > 60
