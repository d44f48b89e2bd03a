"""Boxes drawn into pictures: frames where they belong, labels that can be read."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from vl2.errors import InputError
from vl2.grounding import Box, MissingGlyphWarning, draw
from vl2.grounding.drawing import _plate
from vl2.grounding.fonts import legible

BLACK = PIL.Image.new("RGB", (200, 150))


@pytest.fixture(autouse=True)
def _only_the_bundled_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VL2_FONT", raising=False)
    monkeypatch.setattr("vl2.grounding.fonts._INSTALLED", ())


def coloured(image: PIL.Image.Image) -> np.ndarray:
    return np.asarray(image).any(axis=2)


def test_the_picture_itself_is_left_alone() -> None:
    before = BLACK.tobytes()
    drawn = draw(BLACK, [Box("a", 10, 10, 50, 50)])
    assert BLACK.tobytes() == before
    assert (drawn.mode, drawn.size) == ("RGB", BLACK.size)
    assert draw(BLACK, []).tobytes() == before


def test_a_frame_stands_on_its_box_and_nowhere_else() -> None:
    marked = coloured(draw(BLACK, [Box("", 40, 30, 120, 90)]))
    rows, columns = np.nonzero(marked)
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (39, 29, 121, 91)
    assert marked[30, 40:121].all()
    assert marked[30:91, 120].all()
    assert not marked[40:80, 50:110].any()


def test_labels_have_colours_of_their_own_and_keep_them() -> None:
    boxes = [Box(name, 20, 20 + 35 * i, 60, 30 + 35 * i) for i, name in enumerate("abab")]
    drawn = draw(BLACK, boxes)
    first, second, third, fourth = (drawn.getpixel((20, 25 + 35 * i)) for i in range(4))
    assert first == third
    assert second == fourth
    assert first != second


def test_many_labels_get_many_colours() -> None:
    wide = PIL.Image.new("RGB", (2000, 60))
    boxes = [Box(str(i), 40 * i, 30, 40 * i + 20, 50) for i in range(40)]
    drawn = draw(wide, boxes)
    assert len({drawn.getpixel((40 * i, 40)) for i in range(40)}) == 40


@pytest.mark.parametrize("size", [(200, 150), (40, 30), (12, 9), (1, 1), (3000, 20)])
@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 1, 1),
        (0.9, 0.9, 1, 1),
        (0.5, 0, 0.5, 0),
        (0, 0.4, 0.1, 0.5),
        (-1, -2, 3, 4),
        (1, 1, 0, 0),
    ],
)
def test_label_plates_stay_inside(size: tuple[int, int], box: tuple[float, ...]) -> None:
    scaled = [part * side for part, side in zip(box, size * 2, strict=True)]
    found = Box("a label that is longer than the picture is wide", *scaled)
    draw(PIL.Image.new("RGB", size), [found])
    x1, y1, x2, y2 = _plate(found, size, 2, []).place
    assert 0 <= x1 <= x2 < size[0]
    assert 0 <= y1 <= y2 < size[1]


def test_plates_avoid_each_other() -> None:
    boxes = [Box("same", 50, 60, 120, 110), Box("same", 52, 62, 120, 110)]
    first = _plate(boxes[0], (200, 150), 2, [])
    second = _plate(boxes[1], (200, 150), 2, [first.place])
    ax1, ay1, ax2, ay2 = first.place
    bx1, by1, bx2, by2 = second.place
    assert bx1 > ax2 or bx2 < ax1 or by1 > ay2 or by2 < ay1


def test_labels_can_be_read() -> None:
    drawn = draw(BLACK, [Box("abc", 20, 60, 100, 120)])
    plate = _plate(Box("abc", 20, 60, 100, 120), BLACK.size, 2, [])
    x1, y1, x2, y2 = plate.place
    inked = np.asarray(drawn.crop((x1, y1, x2, y2))).astype(int)
    contrast = abs(inked - inked[0, 0]).sum(axis=2)
    assert 0.05 < (contrast > 200).mean() < 0.6


def test_missing_characters_are_spelled_and_told() -> None:
    with pytest.warns(MissingGlyphWarning, match=r"U\+4E2D.*VL2_FONT"):
        text, _ = legible("中 a", 16)
    assert text == "[U+4E2D] a"
    with pytest.warns(MissingGlyphWarning):
        draw(BLACK, [Box("中", 20, 60, 100, 120)])


def test_a_named_font_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    monkeypatch.setenv("VL2_FONT", str(path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text, font = legible("Łódź → ж", 16)
    assert text == "Łódź → ж"
    assert font.getname()[0] == "DejaVu Sans"


def test_an_installed_font_steps_in(monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    monkeypatch.setattr("vl2.grounding.fonts._INSTALLED", ("/nowhere.ttf", str(path)))
    assert legible("plain", 16)[1].getname()[0] == "Aileron"
    assert legible("ж", 16)[1].getname()[0] == "DejaVu Sans"


def test_a_named_font_that_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    monkeypatch.setenv("VL2_FONT", str(broken))
    with pytest.raises(InputError, match=r"broken\.ttf"):
        legible("a", 16)


def test_line_breaks_in_labels_are_spaces() -> None:
    assert legible("a\nb\x00c", 16)[0] == "a b c"
