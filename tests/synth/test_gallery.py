from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vl2.synth.gallery import GALLERY, SIZE, Print, draw, save
from vl2.synth.strings import is_held_out


@pytest.mark.parametrize("name", GALLERY)
def test_the_bundled_picture_is_the_described_one(name, repository: Path):
    path = repository / "src" / "vl2" / "assets" / "pictures" / f"{name}.png"
    assert path.stat().st_size < 40_000
    with Image.open(path) as bundled:
        assert (bundled.mode, bundled.size) == ("RGB", SIZE)
        difference = np.abs(np.asarray(bundled).astype(int) - np.asarray(draw(GALLERY[name])))
    # Other versions of FreeType and Pillow may round a few pixels at the edges differently.
    assert difference.mean() < 1


def test_the_printed_strings_are_unseen_in_training():
    printed = [p.string for d in GALLERY.values() for p in d.parts if isinstance(p, Print)]
    assert len(printed) >= 4
    assert all(is_held_out(string) for string in printed)


def test_save_writes_every_picture(tmp_path):
    save(tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == set(GALLERY)
