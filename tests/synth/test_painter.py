import random

import pytest
from PIL import Image

from vl2.synth import sample
from vl2.synth.backgrounds import Background, background, luminance, stands_out
from vl2.synth.fonts import FONTS, MARKS, glyph_set, rounded_size
from vl2.synth.names import CHARACTERS, COLOURS
from vl2.synth.painter import SMALLEST_LETTER, Painter, apt_colours, fitted_line
from vl2.synth.things import canvas_scale

WHITE = (255, 255, 255)


def painter(width: int = 200, height: int = 200) -> Painter:
    ground = Background(Image.new("RGB", (width, height), WHITE), (WHITE,))
    return Painter(random.Random(0), ground)


@pytest.mark.parametrize("font", FONTS)
def test_every_font_has_every_character(font):
    glyphs = glyph_set(font, 24).glyphs
    assert set(glyphs) == set(CHARACTERS + MARKS)
    assert all(glyph.mask.getbbox() for glyph in glyphs.values())
    # A font without a character draws the same box for each of them.
    assert len({(g.mask.size, g.mask.tobytes()) for g in glyphs.values()}) >= len(CHARACTERS) - 1


def test_font_sizes_are_few():
    sizes = {rounded_size(size) for size in range(8, 160)}
    assert len(sizes) < 60
    assert all(abs(rounded_size(size) - size) <= 4 for size in range(8, 160))


def test_a_line_shrinks_to_fit_but_not_below_what_is_legible():
    line = fitted_line("elephant", "DejaVuSans", 80, 1.0, 150)
    assert line is not None
    assert line.width <= 150
    assert fitted_line("elephant", "DejaVuSans", 80, 1.0, 40) is None
    small = fitted_line("elephant", "DejaVuSans", 5, 1.0, 300)
    assert small is not None
    assert sum(glyph.advance for glyph in small.glyphs) / 8 >= 0.8 * SMALLEST_LETTER


def test_letters_are_legible_on_the_canvas():
    for seed in range(150):
        s = sample(seed, kinds={"text": 1.0})
        scale = canvas_scale(*s.scenes[0].image.size)
        widths = [(x2 - x1) * scale for _, x1, _, x2, _ in s.scenes[0].characters]
        assert sum(widths) / len(widths) > 5.5
        assert all((thing.y2 - thing.y1) * scale >= 5 for thing in s.scenes[0].things)


def test_no_room_is_an_answer():
    full = painter()
    assert full.shape("square", "red", 196)
    assert not full.shape("circle", "blue", 90)
    line = fitted_line("word", "DejaVuSans", 20, 1.0, 190)
    assert line is not None
    assert not full.lines([line], "black")
    assert [thing.name for thing in full.scene().things] == ["square"]


def test_lines_stand_below_each_other():
    paper = painter()
    lines = [fitted_line(word, "DejaVuSans", 20, 1.0, 190) for word in ("one", "two", "three")]
    assert paper.lines(
        [line for line in lines if line], "black", spacing=0.5, plate=(240, 240, 255)
    )
    first, second, third = paper.scene().things
    assert first.x1 == second.x1 == third.x1
    assert first.y2 < second.y1 < second.y2 < third.y1


def test_colours_stand_out_from_the_ground():
    assert set(apt_colours((WHITE,), text=True)) <= set(COLOURS) - {"white", "yellow", "grey"}
    assert "yellow" in apt_colours((WHITE,), text=False)
    assert "white" not in apt_colours((WHITE,), text=False)
    assert "black" not in apt_colours(((20, 20, 30),), text=False)
    assert not stands_out((250, 250, 250), (WHITE, (0, 0, 0)), text=False)


def test_every_ground_leaves_colours_to_choose_from():
    rng = random.Random(5)
    brightness = []
    for _ in range(300):
        ground = background(rng, 120, 90)
        assert ground.image.size == (120, 90)
        assert len(set(apt_colours(ground.colours, text=True))) >= 3
        assert len(set(apt_colours(ground.colours, text=False))) >= 4
        brightness.append(luminance(ground.colours[0]))
    assert sum(value == 255 for value in brightness) > 80
    assert sum(value < 60 for value in brightness) > 30
