"""A worker of a cluster, called as Ray Data calls it, in this process."""

import json
from dataclasses import replace

import numpy as np
import pytest
from batches import contents, errand_of, planned, read_alone, write_papers
from page_server import serving
from pdfs import drawn_again_and_again

from vl2.documents.batch.errand import job_as_dict
from vl2.documents.batch.station import JOB, SAID, Station
from vl2.documents.rendering.limits import Limits
from vl2.documents.settings import FORMAT

MARK = ".run-1"


class Tally:
    """Counts as the actor of Ray does, whose methods have a method `remote`."""

    def __init__(self):
        self.found, self.pages = [], 0
        self.add = self

    def remote(self, found, read):
        self.found += [found] if found else []
        self.pages += read


@pytest.fixture
def server():
    with serving() as server:
        yield server


def call(station, jobs):
    block = {JOB: np.array([json.dumps(job_as_dict(job)) for job in jobs], dtype=object)}
    return [json.loads(text) for text in station(block)[SAID]]


def station_of(errand, form=FORMAT, mark=MARK, tally=None):
    (errand.out / MARK).touch()
    return Station(errand.as_text(), form, mark, tally or Tally())


def test_a_block_is_read_as_by_one_process(tmp_path, server):
    papers = write_papers(tmp_path / "in", [2, 1, 3])
    alone, errand = errand_of(tmp_path / "alone", server.url), errand_of(tmp_path / "o", server.url)
    read_alone(alone, papers)
    tally = Tally()
    station = station_of(errand, tally=tally)
    answers = call(station, planned(errand, papers).jobs)
    assert sorted(answer["outcome"]["read"] for answer in answers) == [1, 2, 3]
    assert (sorted(tally.found), tally.pages) == ([1, 2, 3], 6)
    (errand.out / MARK).unlink()
    assert contents(errand.out) == contents(alone.out)
    # A block that was lost and comes again is not read again.
    jobs = replace(planned(errand, papers), jobs=[]).done
    assert len(jobs) == 3
    asked = len(server.said)
    again = call(station, planned(errand_of(tmp_path / "none", server.url), papers).jobs)
    assert len(server.said) == asked
    assert [answer["outcome"]["status"] for answer in again] == ["ok"] * 3
    station.close()


def test_hostile_documents_end_as_errors_in_a_worker_too(tmp_path, server):
    (hostile,) = write_papers(tmp_path / "in", [1])
    hostile.write_bytes(drawn_again_and_again())
    (sound,) = write_papers(tmp_path / "more", [1])
    errand = replace(errand_of(tmp_path / "out", server.url), limits=Limits(seconds=1.0))
    station = station_of(errand)
    answers = call(station, planned(errand, [hostile, sound]).jobs)
    found = {answer["outcome"]["path"]: answer["outcome"] for answer in answers}
    assert found[str(sound)]["status"] == "ok"
    assert found[str(hostile)]["status"] == "error"
    station.close()


def test_a_file_that_is_not_here_is_no_fault_of_the_document(tmp_path, server):
    paper, other = write_papers(tmp_path / "in", [1, 1])
    errand = errand_of(tmp_path / "out", server.url)
    station = station_of(errand)
    jobs = planned(errand, [paper, other]).jobs
    paper.unlink()
    found = {a["outcome"]["path"]: a["outcome"] for a in call(station, jobs)}
    assert found[str(other)]["status"] == "ok"
    gone = found[str(paper)]
    assert gone["status"] == "failed"
    assert "is not on this machine" in gone["error"]
    assert not list(errand.out.glob("documents/paper-0*"))
    station.close()


def test_a_machine_that_is_not_like_the_others_says_so(tmp_path, server, nano):
    errand = errand_of(tmp_path / "out", server.url)
    jobs = planned(errand, write_papers(tmp_path / "in", [1])).jobs

    def trouble(station):
        (answer,) = call(station, jobs)
        return answer["trouble"]

    assert "install the same version everywhere" in trouble(station_of(errand, form=FORMAT + 1))
    assert "is not the folder that the run writes to" in trouble(station_of(errand, mark=".run-2"))
    settings = replace(errand.settings, engine="local", model="nano", fingerprint="other")
    local = replace(errand, settings=settings, url=None)
    assert "The weights of 'nano' are others" in trouble(station_of(local))
    absent = replace(local, settings=replace(settings, model=str(tmp_path / "absent")))
    assert "absent" in trouble(station_of(absent))
    assert server.said == []
