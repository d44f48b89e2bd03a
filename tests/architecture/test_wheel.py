"""What a user installs holds everything that runs, and nothing else."""

import subprocess
import sys
import zipfile

import pytest

pytest.importorskip("hatchling")


@pytest.fixture(scope="module")
def contents(repository, tmp_path_factory):
    """Names in a freshly built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=repository,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("vl2-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_every_file_of_the_package_is_in_it(contents, repository):
    tracked = subprocess.run(
        ["git", "ls-files", "src/vl2"], cwd=repository, capture_output=True, text=True, check=False
    ).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    assert {path.removeprefix("src/") for path in tracked} <= contents


def test_nothing_else_is_in_it(contents):
    others = {n.split("/")[0] for n in contents} - {"vl2"}
    assert all(name.endswith(".dist-info") for name in others), others
    assert not [name for name in contents if "__pycache__" in name]


def test_the_embedded_model_is_in_it(contents, nano):
    assert {f"vl2/assets/nano/{file.name}" for file in nano.iterdir()} <= contents


def test_types_pictures_and_licences_are_in_it(contents):
    assert {"vl2/py.typed", "vl2/assets/pictures/shapes.png"} <= contents
    assert {n.rpartition("/")[2] for n in contents} >= {"LICENSE", "NOTICE", "entry_points.txt"}
