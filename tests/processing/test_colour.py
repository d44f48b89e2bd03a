import tracemalloc

import numpy as np
import PIL.Image
import pytest

from vl2.processing.colour import to_rgb

MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def picture_of_mode(mode: str) -> PIL.Image.Image:
    bands = len(PIL.Image.new(mode, (1, 1)).getbands())
    return PIL.Image.frombytes(mode, (8, 6), noise(6, 8, bands).tobytes())


def greys(image: PIL.Image.Image) -> list[int]:
    pixels = np.asarray(to_rgb(image))
    assert (pixels == pixels[..., :1]).all()
    return pixels[0, :, 0].tolist()


@pytest.mark.parametrize("mode", MODES)
def test_modes_of_8_bits_convert_as_in_the_original(mode):
    image = picture_of_mode(mode)
    expected = image.convert("RGB")
    assert to_rgb(image).tobytes() == expected.tobytes()
    assert to_rgb(image) is not image


def test_premultiplied_grey_is_divided_by_its_alpha():
    image = PIL.Image.new("LA", (1, 1), (200, 128)).convert("La")
    assert to_rgb(image).getpixel((0, 0))[0] == pytest.approx(200, abs=2)


def test_a_table_of_transparencies_is_dropped_in_silence():
    image = picture_of_mode("P")
    image.putpalette(noise(256, 3).tobytes())
    plain = image.convert("RGB").tobytes()
    image.info["transparency"] = bytes(range(256))
    assert to_rgb(image).tobytes() == plain
    assert "transparency" in image.info


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B"])
def test_16_bits_are_scaled_not_clipped(mode):
    kind = ">u2" if mode == "I;16B" else "<u2"
    values = np.array([[0, 256, 32768, 65535]], dtype=kind)
    image = PIL.Image.frombytes(mode, (4, 1), values.tobytes())
    assert greys(image) == [0, 1, 128, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 128, 255], [0, 128, 255]),
        ([0, 32768, 65535], [0, 128, 255]),
        ([-5, 1_000_000, 2_000_000], [0, 128, 255]),
    ],
)
def test_32_bit_integers_are_scaled_by_their_largest(values, expected):
    assert greys(PIL.Image.fromarray(np.array([values], dtype=np.int32))) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 99.6, 254.0], [0, 100, 254]),
        ([float("nan"), float("inf"), 1.0], [0, 0, 255]),
    ],
)
def test_floats_are_scaled_by_their_largest(values, expected):
    assert greys(PIL.Image.fromarray(np.array([values], dtype=np.float32))) == expected


def test_memory_does_not_multiply():
    image = PIL.Image.fromarray(np.full((2000, 3000), 700, dtype=np.int32))
    tracemalloc.start()
    rgb = to_rgb(image)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rgb.getpixel((2999, 1999)) == (3, 3, 3)
    # the values 24 MB, greys 6, what is finite 6; all at once in float64 would be 48 and more
    assert peak < 75e6
