"""Documents are opened in a process with limits; whatever is wrong stays with the document."""

import subprocess
import sys
import time

import PIL.Image
import pytest
from pdfs import drawn_again_and_again, encrypted, form, pdf

from vl2.documents.rendering.limits import Limits
from vl2.documents.rendering.renderer import DocumentError, LostPageError, PageError, Renderer
from vl2.documents.rendering.room import Room
from vl2.errors import EngineError, InputError

SECONDS = 2


@pytest.fixture(scope="module")
def renderer():
    made = Renderer(Limits(seconds=SECONDS, memory=300 * 2**20))
    yield made
    made.close()


def put(tmp_path, data, name="paper.pdf"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_a_page_has_its_size_its_ink_and_its_text(renderer, tmp_path):
    path = put(tmp_path, pdf(["Total 12.50", "due"], ["second"], size=(300, 200)))
    assert renderer.open(path, pdf=True) == 2
    first, second = renderer.page(0, 144), renderer.page(1, 72)
    assert first.picture.size == (600, 400)
    assert second.picture.size == (300, 200)
    assert (first.text, second.text) == ("Total 12.50\ndue", "second")
    assert first.picture.mode == "RGB"
    assert first.picture.getextrema()[0] == (0, 255)


def test_colours_are_in_their_order(renderer, tmp_path):
    path = put(tmp_path, pdf([], size=(100, 100), contents="1 0 0 rg 0 0 100 100 re f"))
    renderer.open(path, pdf=True)
    assert renderer.page(0, 72).picture.getpixel((50, 50)) == (255, 0, 0)


def test_text_hidden_behind_a_scan_is_no_layer_of_its_own(renderer, tmp_path):
    path = put(tmp_path, pdf(["recognised"], hidden=True))
    renderer.open(path, pdf=True)
    assert renderer.page(0, 72).text is None


def test_large_pages_are_rendered_with_fewer_pixels(tmp_path):
    small = Renderer(Limits(pixels=10_000))
    try:
        small.open(put(tmp_path, pdf(["x"], size=(2000, 500))), pdf=True)
        size = small.page(0, 144).picture.size
    finally:
        small.close()
    assert 9_000 < size[0] * size[1] < 11_000
    assert size[0] / size[1] == pytest.approx(4, rel=0.05)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (encrypted(), "encrypted"),
        (pdf(), "no pages"),
        (pdf(["x"])[:150], "broken"),
        (b"%PDF-1.7\n" + bytes(range(256)) * 20, "broken"),
        (b"%PDF-1.7", "broken"),
    ],
    ids=["encrypted", "empty", "cut", "noise", "head"],
)
def test_what_cannot_be_opened_says_why(renderer, tmp_path, data, sentence):
    with pytest.raises(DocumentError, match=sentence):
        renderer.open(put(tmp_path, data), pdf=True)


def test_why_a_document_is_refused_does_not_depend_on_the_one_before(renderer, tmp_path):
    for data, sentence in ((encrypted(), "encrypted"), (pdf(), "no pages"), (b"%PDF-", "broken")):
        with pytest.raises(DocumentError, match=sentence):
            renderer.open(put(tmp_path, data), pdf=True)


@pytest.mark.slow
def test_a_page_that_never_ends_is_lost_in_time_and_the_next_one_is_not(renderer, tmp_path):
    renderer.open(put(tmp_path, drawn_again_and_again()), pdf=True)
    started = time.monotonic()
    with pytest.raises(LostPageError):
        renderer.page(0, 72)
    assert time.monotonic() - started < 6 * SECONDS + 10
    renderer.open(put(tmp_path, pdf(["sound"])), pdf=True)
    assert renderer.page(0, 72).text == "sound"


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_a_page_that_takes_too_much_memory_is_lost(tmp_path):
    tight = Renderer(Limits(seconds=20, memory=64 * 2**20))
    try:
        tight.open(put(tmp_path, pdf(["x"], size=(14000, 14000))), pdf=True)
        with pytest.raises(LostPageError, match=r"64 MiB .*--page-memory .*--retry"):
            tight.page(0, 144)
        tight.open(put(tmp_path, pdf(["small"])), pdf=True)
        assert tight.page(0, 72).text == "small"
    finally:
        tight.close()


def test_a_page_without_a_sensible_size_is_an_error_of_that_page(renderer, tmp_path):
    renderer.open(put(tmp_path, pdf(["x"], size=(10**7, 10**7))), pdf=True)
    with pytest.raises(PageError, match="points"):
        renderer.page(0, 72)


def test_a_child_that_is_killed_is_replaced(renderer, tmp_path):
    renderer.open(put(tmp_path, pdf(["x"], ["y"])), pdf=True)
    renderer._process.kill()
    assert renderer.page(1, 72).text == "y"


def test_what_is_closed_stays_closed(tmp_path):
    ended = Renderer(Limits())
    ended.open(put(tmp_path, pdf(["x"])), pdf=True)
    process = ended._process
    ended.close()
    assert process.returncode is not None
    with pytest.raises(LostPageError, match="ended"):
        ended.page(0, 72)
    assert ended._process is None


def test_the_child_ends_with_its_parent(tmp_path):
    path = put(tmp_path, pdf(["x"]))
    program = (
        "import sys; from pathlib import Path;"
        "from vl2.documents.rendering.renderer import Renderer;"
        "from vl2.documents.rendering.limits import Limits;"
        "r = Renderer(Limits()); r.open(Path(sys.argv[1]), pdf=True);"
        "print(r._process.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 10
    while _runs(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(pid):
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, check=False)
    return bool(done.stdout.strip()) and not done.stdout.strip().startswith(b"Z")


def test_a_tiff_has_all_its_pages(renderer, tmp_path):
    path = tmp_path / "fax.tif"
    frames = [PIL.Image.new("L", (40 + index, 30), 50 * index) for index in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert renderer.open(path, pdf=False) == 3
    sheets = [renderer.page(index, 144) for index in (2, 0, 1)]
    assert [sheet.picture.size for sheet in sheets] == [(42, 30), (40, 30), (41, 30)]
    assert [sheet.picture.getpixel((1, 1))[0] for sheet in sheets] == [100, 0, 50]
    assert sheets[0].text is None


def test_a_broken_picture_says_so_without_its_path(renderer, tmp_path):
    path = put(tmp_path, b"\x89PNG\r\n\x1a\n" + b"x" * 50, "scan.png")
    renderer.open(path, pdf=False)
    with pytest.raises(PageError, match=r"^The picture is broken") as caught:
        renderer.page(0, 144)
    assert str(tmp_path) not in str(caught.value)


def test_the_child_can_neither_write_nor_reach_the_network(tmp_path):
    program = (
        "import socket, sys\n"
        "from vl2.documents.rendering.confinement import confine\n"
        "from vl2.documents.offline import OfflineError, no_network\n"
        "confine(2**28)\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from pathlib import Path\n"
        "try:\n    Path(sys.argv[1]).write_text('x')\nexcept OSError:\n    print('no file')\n"
        "with no_network():\n    try:\n        socket.socket()\n"
        "    except OfflineError:\n        print('no socket')\n"
    )
    if sys.platform == "win32":
        pytest.skip("Windows has no such limits")
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "never")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split("\n")[:2] == ["no file", "no socket"], done.stderr


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), 1e12, -1])
def test_no_page_may_take_for_ever(seconds):
    with pytest.raises(InputError, match="got"):
        Limits(seconds=seconds)


def test_limits_must_be_sensible():
    with pytest.raises(InputError, match="seconds"):
        Limits(seconds=0)
    with pytest.raises(InputError, match="1 MiB of memory: allow at least 64 MiB"):
        Limits(memory=2**20)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_the_least_memory_is_enough_for_an_ordinary_page(tmp_path):
    least = Renderer(Limits(seconds=20, memory=64 * 2**20))
    try:
        least.open(put(tmp_path, pdf(["Total 12.50"])), pdf=True)
        assert least.page(0, 144).text == "Total 12.50"
    finally:
        least.close()


def test_what_is_called_a_pdf_and_is_none_says_so_unless_it_is_a_picture(renderer, tmp_path):
    for data in (b"<html>Not found</html>", b"PK\3\4 words", bytes(999)):
        with pytest.raises(DocumentError, match="it is no PDF, though its name says so"):
            renderer.open(put(tmp_path, data), pdf=False)
    path = tmp_path / "scan.PDF"
    PIL.Image.new("RGB", (30, 20), "red").save(path, "PNG")
    assert renderer.open(path, pdf=False) == 1
    assert renderer.page(0, 72).picture.size == (30, 20)


def test_a_room_lets_in_what_fits_and_a_giant_alone():
    room = Room(pages=2, pixels=100)
    room.enter(500)
    assert not room._fits(1)
    room.leave(500)
    room.enter(60)
    room.enter(40)
    assert not room._fits(0)
    room.leave(40)
    assert room._fits(40)
    assert not room._fits(41)
    room.close()
    with pytest.raises(EngineError):
        room.enter(1)


def test_what_is_filled_into_a_form_is_text_of_its_page(renderer, tmp_path):
    renderer.open(put(tmp_path, form("Ada Lovelace")), pdf=True)
    assert renderer.page(0, 72).text == "Name:\nAda Lovelace"
