"""What the tests of the documents share."""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def workplace(tmp_path, repository):
    """A folder that holds what the documents' commands name: the bundled pictures."""
    pictures = repository / "src" / "vl2" / "assets" / "pictures"
    shutil.copytree(pictures, tmp_path / "src" / "vl2" / "assets" / "pictures")
    for picture in pictures.glob("*.png"):
        shutil.copy(picture, tmp_path / picture.name)
    return tmp_path
