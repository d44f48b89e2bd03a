import io

import PIL.Image
import pytest

from vl2.errors import ImageError, InputError
from vl2.processing.images import Limits
from vl2.server.pictures import sizes
from vl2.server.settings import Settings


def png(width, height):
    file = io.BytesIO()
    PIL.Image.new("L", (width, height)).save(file, "PNG")
    return file.getvalue()


def test_pictures_are_limited_together():
    limits = Limits(max_pixels=100, max_bytes=10_000)
    assert len(sizes([png(10, 10)] * 3, limits)) == 3
    with pytest.raises(ImageError, match="first 4 pictures have together more than 300 pixels"):
        sizes([png(10, 10)] * 5, limits)
    with pytest.raises(ImageError, match=r"Picture 2 of 2: .* 11x10"):
        sizes([png(10, 10), png(11, 10)], limits)


@pytest.mark.parametrize("key", ["", " ", " key", "key "])
def test_a_key_that_no_header_keeps_is_refused(key):
    with pytest.raises(InputError, match="API key is empty"):
        Settings(api_key=key)
    assert Settings(api_key="a key").api_key == "a key"
