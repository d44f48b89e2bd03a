import contextlib
import io
import os
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageFile
import PIL.ImageOps
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import golden

from vl2.errors import ImageError, MissingExtraError
from vl2.processing.images import (
    Limits,
    cut,
    fitted_size,
    letterbox,
    open_image,
    upright_size,
)
from vl2.processing.tiling import Grid, Tiling, candidate_resolutions

SIZES = st.tuples(st.integers(1, 300), st.integers(1, 300))
NANO = Tiling(candidate_resolutions(96, 4), 96, 12, 2)


def photo(width: int = 40, height: int = 30) -> PIL.Image.Image:
    """A smooth picture with a different colour in each corner."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    red, green = x / max(1, width - 1), y / max(1, height - 1)
    pixels = np.stack([red, green, 1 - red * green], axis=-1) * 255
    return PIL.Image.fromarray(pixels.astype(np.uint8))


def encoded(image: PIL.Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG whose header states a size that its few bytes of data do not have."""

    def chunk(name: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(name + body)
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_open_exactly(kind):
    assert open_image(encoded(photo(), kind)).tobytes() == photo().tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF", "AVIF"])
def test_lossy_formats_open_nearly(kind):
    if kind not in PIL.Image.registered_extensions().values():
        pytest.skip(f"this Pillow does not know {kind}")
    opened = np.asarray(open_image(encoded(photo(), kind)), dtype=np.int16)
    assert np.abs(opened - np.asarray(photo())).mean() < 12


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    frames = [PIL.Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    path = tmp_path / "moving.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert open_image(path).getpixel((0, 0)) == (255, 0, 0)


def test_every_kind_of_source_gives_the_same(tmp_path):
    data = encoded(photo(), "PNG")
    path = tmp_path / "a picture.png"
    path.write_bytes(data)
    with PIL.Image.open(path) as image:
        opened = [open_image(source) for source in (str(path), path, data, image)]
    assert {image.tobytes() for image in opened} == {photo().tobytes()}
    assert {image.mode for image in opened} == {"RGB"}


def test_a_pil_image_is_not_changed_and_shares_nothing():
    image = photo()
    opened = open_image(image)
    opened.putpixel((0, 0), (1, 2, 3))
    assert image.tobytes() == photo().tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(orientation, kind):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(photo(), kind, exif=exif, **options)
    with PIL.Image.open(io.BytesIO(data)) as image:
        upright = PIL.ImageOps.exif_transpose(image)
    assert open_image(data).tobytes() == upright.tobytes()
    assert open_image(data).size == ((30, 40) if orientation >= 5 else (40, 30))
    # turned once, not again
    assert open_image(open_image(data)).tobytes() == upright.tobytes()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_broken_exif_tag_leaves_the_picture_as_it_is():
    data = encoded(photo(), "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x02x\0")
    assert open_image(data).tobytes() == photo().tobytes()


def test_cmyk_jpeg_opens_in_its_colours():
    image = PIL.Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    red, green, blue = open_image(encoded(image, "JPEG")).getpixel((8, 8))
    assert red < 40
    assert green > 200
    assert blue > 200


def test_16_bit_png_is_scaled():
    values = np.array([[0, 32768, 65535]], dtype=np.uint16)
    data = encoded(PIL.Image.fromarray(values), "PNG")
    assert [open_image(data).getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]


def test_heic_opens_with_its_plugin():
    heif = pytest.importorskip("pillow_heif")
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    heif.from_pillow(photo()).save(buffer, format="HEIF", exif=exif.tobytes(), quality=100)
    image = open_image(buffer.getvalue())
    assert image.size == (30, 40)
    red, green, _ = image.getpixel((29, 0))  # the picture's own left upper corner
    assert red < 40
    assert green < 40
    assert "HEIF" not in PIL.Image.OPEN


def test_heic_without_its_plugin_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingExtraError, match=r"vl2\[heic\]"):
        open_image(b"\0\0\0\x1cftypheic" + b"\0" * 40)


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_broken_heic_is_one_clear_error(brand):
    pytest.importorskip("pillow_heif")
    with pytest.raises(ImageError, match="broken or incomplete"):
        open_image(b"\0\0\0\x1cftyp" + brand + b"\0" * 40)


def test_a_name_that_no_file_can_have():
    with pytest.raises(ImageError, match=r"^'a{60}'\.\.\. cannot be read \([^']+\): hand in"):
        open_image("a" * 5000)


def test_missing_file(tmp_path):
    with pytest.raises(ImageError, match=r"absent\.png' does not exist"):
        open_image(tmp_path / "absent.png")


def test_folder_on_a_system_that_denies_access_to_folders(tmp_path, monkeypatch):
    def denied(self, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(ImageError, match="is a folder"):
        open_image(tmp_path)


def test_folder(tmp_path):
    with pytest.raises(ImageError, match="is a folder"):
        open_image(tmp_path)


def test_file_without_permission(tmp_path):
    path = tmp_path / "locked.png"
    path.write_bytes(encoded(photo(), "PNG"))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(ImageError, match="cannot be read"):
        open_image(path)


def test_path_with_a_null_byte():
    with pytest.raises(ImageError, match="cannot be read"):
        open_image("picture\0.png")


def test_zero_bytes(tmp_path):
    path = tmp_path / "empty.png"
    path.write_bytes(b"")
    for source in (path, b""):
        with pytest.raises(ImageError, match="is empty"):
            open_image(source)


def test_text_named_png(tmp_path):
    path = tmp_path / "note.png"
    path.write_text("This is no picture.")
    with pytest.raises(ImageError, match="not a picture of a known kind"):
        open_image(path)


def test_a_pdf_is_for_another_verb(tmp_path):
    path = tmp_path / "invoice.pdf"
    path.write_bytes(b"%PDF-1.7\n%\xe2\xe3\n1 0 obj\n")
    with pytest.raises(ImageError, match=r"invoice\.pdf' is a PDF, and no picture: vl2 read"):
        open_image(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("part", [0.9, 0.5, 0.1])
def test_truncated_files(kind, part):
    data = encoded(photo(200, 150), kind)
    with pytest.raises(ImageError, match=r"broken or incomplete|not a picture"):
        open_image(data[: int(len(data) * part)])


@settings(max_examples=60)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"]), st.data())
def test_damaged_files_open_or_give_an_image_error(kind, data):
    damaged = bytearray(encoded(photo(), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on what it could repair
        with contextlib.suppress(ImageError):
            assert open_image(bytes(damaged)).mode == "RGB"


@pytest.mark.parametrize("size", [(60000, 60000), (9500, 10000), (1, 100_000_000)])
def test_bombs_are_refused_before_decoding(size, monkeypatch):
    monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    for action in ("error", "ignore"):
        with warnings.catch_warnings():
            warnings.simplefilter(action)
            with pytest.raises(ImageError, match=r"more than the allowed 89\.0 million"):
                open_image(png_that_claims(*size))


def test_limits_of_pixels():
    limits = Limits(max_pixels=40 * 30)
    for source in (photo(), encoded(photo(), "PNG")):
        assert open_image(source, limits=limits).size == (40, 30)
    for source in (photo(41, 30), encoded(photo(41, 30), "PNG")):
        with pytest.raises(ImageError, match="has 41x30 pixels"):
            open_image(source, limits=limits)


def test_limits_of_sides():
    thin = PIL.Image.new("L", (1_000_001, 1))
    with pytest.raises(ImageError, match=r"1000001x1 pixels, and no side .* than 1000000"):
        open_image(thin)
    assert open_image(thin, limits=Limits(max_side=1_000_001)).size == thin.size


def test_limits_of_bytes(tmp_path):
    data = encoded(photo(), "PNG")
    path = tmp_path / "large.png"
    path.write_bytes(data)
    for source in (data, path):
        assert open_image(source, limits=Limits(max_bytes=len(data))).size == (40, 30)
        with pytest.raises(ImageError, match="more than the allowed"):
            open_image(source, limits=Limits(max_bytes=len(data) - 1))


def test_an_endless_file_is_not_read_to_its_end():
    if not Path("/dev/zero").exists():
        pytest.skip("there is no endless file on this system")
    with pytest.raises(ImageError, match=r"more than the allowed 1\.0 MiB"):
        open_image("/dev/zero", limits=Limits(max_bytes=2**20))


def test_web_addresses_are_not_fetched():
    with pytest.raises(ImageError, match="nothing is fetched"):
        open_image("https://example.org/a.png")


def test_a_closed_pil_image_is_one_clear_error(tmp_path):
    path = tmp_path / "closed.png"
    photo().save(path)
    with PIL.Image.open(path) as image:
        pass
    with pytest.raises(ImageError, match="broken or incomplete"):
        open_image(image)


def test_settings_of_pillow_stay_as_they_are():
    before = _settings()
    open_image(encoded(photo(), "PNG"))
    with pytest.raises(ImageError):
        open_image(b"nothing")
    assert _settings() == before


def _settings():
    return PIL.Image.MAX_IMAGE_PIXELS, PIL.ImageFile.LOAD_TRUNCATED_IMAGES


@given(image=SIZES, frame=SIZES)
def test_letterbox_equals_pillow(image, frame):
    picture = photo(*image)
    try:
        contained = PIL.ImageOps.contain(picture, frame).size
    except ValueError:  # older versions of Pillow cannot make a picture without pixels
        contained = (0, 0)
    if min(contained) > 0:
        padded = PIL.ImageOps.pad(picture, frame, color=(127, 127, 127))
        assert fitted_size(image, frame) == contained
        assert letterbox(picture, frame, (127, 127, 127)).tobytes() == padded.tobytes()


@given(image=SIZES, frame=SIZES)
def test_letterboxed_pictures_touch_two_sides(image, frame):
    width, height = fitted_size(image, frame)
    assert 1 <= width <= frame[0]
    assert 1 <= height <= frame[1]
    assert width == frame[0] or height == frame[1]


def test_a_picture_too_thin_for_a_pixel_keeps_one():
    pixels = np.asarray(letterbox(PIL.Image.new("RGB", (1, 5000), "red"), (96, 96), (127,) * 3))
    assert (pixels[:, 48] == (255, 0, 0)).all()
    assert (pixels[:, 0] == 127).all()


@pytest.mark.parametrize("name", golden.facts("base")["tiling"])
def test_tiles_of_every_picture_equal_the_original(name):
    known = golden.facts("base")["tiling"][name]
    image = open_image(golden.GOLDEN / name)
    tiles = cut(image, Grid(*known["crop"]), Tiling())
    assert list(image.size) == known["size"]
    assert tiles.dtype == np.float32
    assert tiles.shape == (len(known["tile_means"]), 3, 384, 384)
    assert tiles.mean(axis=(1, 2, 3), dtype=np.float64) == pytest.approx(
        known["tile_means"], abs=1e-6 if golden.EXACT_TILES else 1e-3
    )


def test_tiles_are_global_first_then_row_by_row():
    image = photo(288, 96 * 2)  # exactly 3 x 2 tiles
    tiles = cut(image, Grid(3, 2), NANO)
    expected = (np.asarray(image, dtype=np.float32) / np.float32(255) - 0.5) / 0.5
    for index in range(6):
        row, column = divmod(index, 3)
        part = expected[row * 96 : row * 96 + 96, column * 96 : column * 96 + 96]
        assert np.array_equal(tiles[1 + index], part.transpose(2, 0, 1))
    whole = np.asarray(letterbox(image, (96, 96), (127,) * 3), dtype=np.float32)
    assert np.array_equal(tiles[0], ((whole / np.float32(255) - 0.5) / 0.5).transpose(2, 0, 1))


def test_every_byte_is_normalised_as_torch_does():
    torch = pytest.importorskip("torch")
    mean, std = (0.48, 0.45, 0.41), (0.27, 0.26, 0.28)
    ramp = np.arange(96 * 96 * 3, dtype=np.uint64).astype(np.uint8).reshape(96, 96, 3)
    tiles = cut(PIL.Image.fromarray(ramp), Grid(1, 1), NANO, mean, std)
    scaled = torch.from_numpy(ramp).permute(2, 0, 1).to(torch.float32).div(255)
    columns = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    subtract, divide = columns
    assert np.array_equal(tiles[0], scaled.sub(subtract).div(divide).numpy())


def test_without_normalisation_values_stay_in_0_to_1():
    tiles = cut(PIL.Image.new("RGB", (96, 48), "white"), Grid(1, 1), NANO, normalize=False)
    assert tiles.max() == 1.0
    assert tiles[0, 0, 0, 0] == np.float32(127) / np.float32(255)


def test_the_margin_has_the_mean_colour():
    tiles = cut(PIL.Image.new("RGB", (96, 48)), Grid(1, 1), NANO, (0.1, 0.5, 0.9), (1.0, 1.0, 1.0))
    values = [25 / 255 - 0.1, 127 / 255 - 0.5, 229 / 255 - 0.9]
    assert tiles[0, :, 0, 0] == pytest.approx(values, abs=1e-6)


@pytest.mark.parametrize("orientation", [None, 1, 3, 6, 8])
def test_the_upright_size_is_told_without_decoding(orientation, tmp_path):
    image, exif = PIL.Image.effect_noise((300, 200), 90), PIL.Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    path = tmp_path / "picture.jpg"
    image.save(path, exif=exif)
    assert upright_size(path) == open_image(path).size
    assert upright_size(path.read_bytes()) == open_image(path).size
    assert upright_size(image) == (300, 200)
    cut_off = path.read_bytes()[:5000]
    assert upright_size(cut_off) == open_image(path).size
    with pytest.raises(ImageError):
        upright_size(tmp_path / "absent.jpg")
