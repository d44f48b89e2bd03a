"""The folder of the page: private, never too large, and the only one that the page may name."""

import os
import time

import pytest

from vl2.server.page.uploads import Uploads


@pytest.fixture
def make():
    """A function that makes folders, which are removed at the end."""
    made = []

    def uploads(**limits):
        made.append(Uploads(**limits))
        return made[-1]

    yield uploads
    for each in made:
        each.remove()


def put(uploads, name, size, age=0.0):
    path = uploads.path / name / "a.png"
    path.parent.mkdir()
    path.write_bytes(b"x" * size)
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def test_it_is_private_and_told_to_the_framework(make):
    uploads = make()
    assert uploads.path.stat().st_mode & 0o777 == 0o700
    assert os.environ["GRADIO_TEMP_DIR"] == str(uploads.path)
    uploads.remove()
    assert not uploads.path.exists()
    assert "GRADIO_TEMP_DIR" not in os.environ


def test_the_oldest_go_when_it_is_full(make):
    uploads = make(most_bytes=100)
    files = [put(uploads, str(age), 40, age) for age in (1, 3, 2)]
    uploads.prune()
    assert [path.exists() for path in files] == [True, False, True]
    assert not files[1].parent.exists()


def test_what_is_old_goes_and_what_the_page_needs_stays(make):
    uploads = make(most_bytes=100, longest=10)
    needed = put(uploads, "needed", 90, 100)
    uploads.keep()
    old, new = put(uploads, "old", 1, 11), put(uploads, "new", 90, 9)
    uploads.prune()
    assert needed.exists()
    assert new.exists()
    assert not old.exists()


def test_which_paths_lead_into_it(make):
    uploads = make()
    inside = f"{uploads.path}/a/b.png"
    assert uploads.holds(inside)
    for path in (
        "/etc/passwd",
        "http://a.example/x.png",
        "HTTPS://a.example/x.png",
        f"{uploads.path}/../x.png",
        f"{uploads.path}x/y.png",
        f"x{inside}",
        "",
        ".",
    ):
        assert not uploads.holds(path)
