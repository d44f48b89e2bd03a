"""What is told before a cluster is joined. The cluster itself: `tests/lanes/test_ray.py`."""

import socket
import sys
import types

import pytest
from batches import write_pictures

from vl2.cli import main
from vl2.documents.batch.cluster import Tally, check_address, tell
from vl2.errors import InputError, MissingExtraError


@pytest.fixture
def ray(monkeypatch):
    """Something that can be imported as Ray."""
    package = types.ModuleType("ray")
    package.data = types.ModuleType("ray.data")
    monkeypatch.setitem(sys.modules, "ray", package)
    monkeypatch.setitem(sys.modules, "ray.data", package.data)


@pytest.fixture
def closed_port():
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"vl2\[ray\]"):
        check_address("127.0.0.1:6379")


@pytest.mark.parametrize(
    "address", ["local", "ray://10.0.0.1:10001", "10.0.0.1", "a b:1", "x:", ":6379", "http://x:1"]
)
def test_what_is_no_address_is_refused(ray, address):
    with pytest.raises(InputError, match="is no address of a Ray cluster"):
        check_address(address)


def test_an_address_at_which_nobody_answers_is_told_at_once(ray, closed_port):
    with pytest.raises(InputError, match="No Ray cluster answers at"):
        check_address(f"127.0.0.1:{closed_port}")
    with pytest.raises(InputError, match="No Ray cluster answers at"):
        check_address("127.0.0.1:99999")


def test_one_that_answers_is_taken(ray):
    with socket.create_server(("127.0.0.1", 0)) as place:
        check_address(f"127.0.0.1:{place.getsockname()[1]}")
        check_address(f"localhost:{place.getsockname()[1]}")
    check_address("auto")


def test_offline_refuses_a_cluster(ray, tmp_path, capsys):
    write_pictures(tmp_path / "in", 1)
    words = ["read", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--offline"]
    assert main([*words, "--ray", "auto"]) == 2
    assert "--offline forbids --ray" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_pages_that_were_counted_together_are_told_by_documents():
    tally, told = Tally(), []
    for found, read in ((5, 0), (0, 1), (2, 0), (0, 1), (0, 1)):
        tally.add(found, read)
    assert tally.total() == (2, 7, 3)
    tell(lambda *pages: told.append(pages), *tally.total())
    assert told == [(3, 0), (4, 0), (0, 3)]
    tell(lambda *pages: told.append(pages), 0, 0, 0)
    assert len(told) == 3
    tell(lambda *pages: told.append(pages), 0, -2, 1)  # two that need not be read
    assert told[3:] == [(-2, 1)]
