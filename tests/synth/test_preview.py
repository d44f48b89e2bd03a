from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vl2.synth.kinds import KINDS
from vl2.synth.preview import contact_sheet
from vl2.synth.sampling import TASK_WEIGHTS

NEW = (
    *("paragraph", "small_print", "receipt", "form", "table", "bar_chart", "line_chart"),
    *("pie_chart", "pair", "album", "story", "talk"),
)


def test_the_guides_picture_is_what_its_command_writes(repository: Path):
    path = repository / "docs" / "images" / "synth.png"
    assert path.stat().st_size < 400_000
    with Image.open(path) as shown:
        drawn = contact_sheet(21, kinds=[{kind: 1.0} for kind in NEW], boxes=True)
        assert shown.size == drawn.size
        difference = np.abs(np.asarray(shown).astype(int) - np.asarray(drawn))
    # Other versions of FreeType and Pillow may round a few pixels at the edges differently.
    assert difference.mean() < 1
    page = (repository / "docs" / "guide" / "synth.md").read_text("utf-8")
    assert [kind for kind in NEW if f"--pictures {kind}" not in page] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_in_the_guide(repository: Path, kind):
    page = (repository / "docs" / "guide" / "synth.md").read_text("utf-8")
    assert f"`{kind}`" in page


def test_every_task_is_in_the_guide(repository: Path):
    page = (repository / "docs" / "guide" / "synth.md").read_text("utf-8")
    assert [task for task in TASK_WEIGHTS if f"`{task}`" not in page] == []


def test_boxes_are_drawn_on_the_last_picture():
    plain, boxed = (
        contact_sheet(3, count=1, kinds=[{"pair": 1.0}], boxes=b) for b in (False, True)
    )
    columns = np.flatnonzero((np.asarray(plain) != np.asarray(boxed)).any(axis=(0, 2)))
    assert columns.min() > 8 + 96  # the first picture ends there
