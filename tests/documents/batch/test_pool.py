"""Processes of this machine: the results of one, whoever dies meanwhile."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from batches import (
    contents,
    errand_of,
    planned,
    read_alone,
    sorted_by_path,
    write_papers,
    write_pictures,
)
from page_server import serving

from vl2.documents.batch.pool import Pool
from vl2.documents.run import run
from vl2.errors import VL2Error

linux = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks into /proc")


class Counted:
    """Pages found and read, told from any thread."""

    def __init__(self):
        self.found = self.read = 0
        self.lock = threading.Lock()

    def __call__(self, found, read):
        with self.lock:
            self.found, self.read = self.found + found, self.read + read


def read_by_pool(errand, paths, workers, meanwhile=lambda pool: None):
    counted = Counted()
    with contextlib.closing(Pool(errand, workers, counted)) as pool:
        meanwhile(pool)
        outcomes = run(planned(errand, paths), pool.read, workers * errand.parallel)
    return sorted_by_path(outcomes), counted


def test_a_worker_that_is_killed_loses_nothing(tmp_path):
    papers = write_papers(tmp_path / "in", [5, 1, 4, 2, 3, 1])
    with serving() as server:
        alone = errand_of(tmp_path / "alone", server.url)
        expected = read_alone(alone, papers)
        asked = len(server.said)
        server.delay = 0.05
        pids = []

        def kill_one(said):
            if pids and len(server.said) == asked + 7:
                os.kill(pids.pop(), signal.SIGKILL)

        server.on_page = kill_one
        together = errand_of(tmp_path / "together", server.url)
        found, pages = read_by_pool(together, papers, 2, lambda pool: pids.extend(pool.pids))
        assert len(pids) == 1
        assert found == expected
        assert contents(together.out) == contents(alone.out)
        # Pages that the dead one kept and could not tell of any more are not read again.
        assert 16 - together.parallel <= pages.read <= 16
        assert pages.found >= 16
        # Only pages that were at the dead worker, at most as many as it reads at once, come again.
        assert asked <= len(server.said) - asked <= asked + together.parallel


def test_a_document_that_ends_every_worker_takes_no_other_with_it(tmp_path):
    pictures = write_pictures(tmp_path / "in", 6)
    with serving() as server:
        errand = errand_of(tmp_path / "out", server.url, parallel=3)
        read_alone(errand_of(tmp_path / "one", server.url), pictures[:1])
        poison, pools = server.said[0], []

        def kill(said):
            if said == poison:
                os.kill(pools[0].pids[0], signal.SIGKILL)

        server.on_page = kill
        found, _ = read_by_pool(errand, pictures, 1, pools.append)
        assert server.said.count(poison) == 1 + 3
    assert [o.status for o in found] == ["failed", *["ok"] * 5]
    assert "3 workers died while they read it" in found[0].error


def test_a_model_that_cannot_be_loaded_is_told_at_once(tmp_path):
    errand = errand_of(tmp_path / "out", None)
    settings = replace(errand.settings, engine="local", model=str(tmp_path / "absent"))
    with pytest.raises(VL2Error, match="absent"):
        Pool(replace(errand, settings=settings), 1, Counted())


def test_a_worker_that_dies_over_its_model_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("vl2.documents.batch.worker._CHILD", "vl2.no_such_module")
    with pytest.raises(VL2Error, match="is there memory for 2 of them"):
        Pool(errand_of(tmp_path / "out", "http://127.0.0.1:1/v1"), 2, Counted())


def started(tmp_path, server, mark, *words):
    command = [sys.executable, "-m", "vl2", "read", str(tmp_path / "in"), "-o"]
    options = ["--engine", "openai", "--url", server.url, "--model", "pages", "--workers", "2"]
    return subprocess.Popen(
        [*command, str(tmp_path / "out"), *options, "--parallel", "2", "--no-report", *words],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "VL2_MARK": mark,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def processes_of(mark):
    """Processes that have the mark in their environment, those of their children too."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


def assert_all_end(mark, seconds=15):
    until = time.monotonic() + seconds
    while (left := processes_of(mark)) and time.monotonic() < until:
        time.sleep(0.05)
    assert left == []


@linux
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_an_ended_run_leaves_no_process_and_goes_on(tmp_path, end):
    papers = write_pictures(tmp_path / "in", 30)
    mark = uuid.uuid4().hex
    with serving(delay=0.1) as server:
        process = started(tmp_path, server, mark)
        while len(server.said) < 10 and process.poll() is None:
            time.sleep(0.01)
        assert len(processes_of(mark)) >= 3
        process.send_signal(end)
        said = process.communicate(timeout=60)
        assert process.returncode == (130 if end == signal.SIGINT else -end), said
        assert b"Traceback" not in said[1]
        assert_all_end(mark)
        before, server.delay = len(server.said), 0
        assert before < len(papers)
        again = started(tmp_path, server, mark)
        assert again.communicate(timeout=60)[0].startswith(b"30 documents, 30 pages")
        assert again.returncode == 0
        # What was at the workers when they were ended is asked again, and nothing else.
        assert len(server.said) - before <= len(papers) - before + 4
        alone = errand_of(tmp_path / "alone", server.url)
        read_alone(alone, papers)
        assert len(list((tmp_path / "out" / "documents").glob("*/result.json"))) == 30
    assert_all_end(mark)
