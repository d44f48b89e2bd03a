"""Ray for real: two nodes of this machine, workers and a node killed, the results of one process.

Skipped where Ray is not installed; `make test-ray` makes an environment for it.
"""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray_cluster
from batches import contents, errand_of, read_alone, write_papers, write_pictures
from page_server import serving

if importlib.util.find_spec("ray") is None:
    pytest.skip("Ray is not installed", allow_module_level=True)

pytestmark = pytest.mark.timeout(900)


@dataclass
class Cluster:
    address: str
    raylets: list[int]


@pytest.fixture(scope="module")
def cluster():
    process = subprocess.Popen(
        [sys.executable, ray_cluster.__file__, "2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield Cluster(**json.loads(process.stdout.readline()))
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def started(cluster, folder, out, *words):
    command = [sys.executable, "-m", "vl2", "read", str(folder), "-o", str(out)]
    variables = {**os.environ, **ray_cluster.VARIABLES}
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        [*command, "--ray", cluster.address, "--no-report", *words],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read(*arguments):
    process = started(*arguments)
    stdout, stderr = process.communicate(timeout=600)
    return Done(process.returncode, stdout, stderr)


def children(process):
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit():
                status = (folder / "stat").read_text()
                if int(status.rpartition(")")[2].split()[1]) == process:
                    found.append(int(folder.name))
    return found


def named(process):
    with contextlib.suppress(OSError):
        return (Path("/proc") / str(process) / "cmdline").read_text()
    return ""


def workers_of(raylet):
    return [child for child in children(raylet) if "MapWorker" in named(child)]


def test_it_listens_on_loopback_only(cluster):
    """Of everything that the nodes run, no socket is open to other machines."""
    processes = [child for raylet in cluster.raylets for child in [raylet, *children(raylet)]]
    inodes = set()
    for process in processes:
        with contextlib.suppress(OSError):
            for handle in (Path("/proc") / str(process) / "fd").iterdir():
                with contextlib.suppress(OSError):
                    target = str(handle.readlink())
                    if target.startswith("socket:["):
                        inodes.add(target[8:-1])
    places = []
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            cells = line.split()
            if cells[3] == "0A" and cells[9] in inodes:
                places.append(cells[1].partition(":")[0])
    assert places
    assert set(places) <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_two_nodes_give_what_one_process_gives(cluster, nano, tmp_path, repository):
    pictures = repository / "src" / "vl2" / "assets" / "pictures"
    words = ["--ask", "What is this?", "--max-tokens", "8"]
    done = read(cluster, pictures, tmp_path / "ray", *words, "--workers", "2")
    assert done.returncode == 0, done.stderr
    command = [sys.executable, "-m", "vl2", "read", str(pictures), "-o", str(tmp_path / "one")]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([*command, "--no-report", *words], env=variables, check=True)
    assert contents(tmp_path / "ray") == contents(tmp_path / "one")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_an_ended_run_ends_its_workers_and_goes_on(cluster, tmp_path, end):
    write_pictures(tmp_path / "in", 20)
    with serving(delay=0.3) as server:
        words = ["--engine", "openai", "--url", server.url, "--model", "pages", "--parallel", "2"]
        process = started(cluster, tmp_path / "in", tmp_path / "out", *words)
        while len(server.said) < 6 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(end)
        _, said = process.communicate(timeout=60)
        assert process.returncode == (130 if end == signal.SIGINT else -end), said
        assert "Traceback" not in said
        until = time.monotonic() + 60
        while any(map(workers_of, cluster.raylets)) and time.monotonic() < until:
            time.sleep(0.2)
        assert not any(map(workers_of, cluster.raylets))
        finished = len(list((tmp_path / "out" / "documents").glob("*/result.json")))
        assert 0 < finished < 20
        before, server.delay = len(server.said), 0
        done = read(cluster, tmp_path / "in", tmp_path / "out", *words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("20 documents, 20 pages")
        assert len(server.said) - before <= 20 - finished


def test_a_killed_worker_and_a_killed_node_lose_nothing(cluster, tmp_path):
    papers = write_papers(tmp_path / "in", [3, 1, 2, 4] * 5)
    killed = []

    def kill(said):
        begun = len(server.said)
        if begun == 8:
            killed.extend(workers_of(cluster.raylets[0]))
        elif begun == 25:
            raylet = cluster.raylets[1]
            killed.extend([raylet, *children(raylet)])
        else:
            return
        for process in killed[-1 if begun == 8 else 1 :]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    with serving(delay=0.3, on_page=kill) as server:
        words = ["--engine", "openai", "--url", server.url, "--model", "pages", "--parallel", "2"]
        out = tmp_path / "out"
        done = read(cluster, tmp_path / "in", out, *words, "--text-layer", "ignore")
        assert done.returncode == 0, done.stderr
        assert len(killed) >= 3, "a worker, a raylet and its workers"
        assert "20 documents, 50 pages" in done.stdout
        server.delay, server.on_page = 0, lambda said: None
        alone = errand_of(tmp_path / "alone", server.url, copies=False)
        read_alone(alone, papers)
    read_by_ray = contents(out)
    assert {
        name: data for name, data in read_by_ray.items() if name.startswith("documents/")
    } == contents(alone.out)
