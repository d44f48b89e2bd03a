"""What a round loses comes again, with fewer others; what nobody can read is given up."""

from pathlib import Path

import pytest

from vl2.documents.batch import rounds
from vl2.documents.batch.rounds import Share, in_rounds, share_of
from vl2.documents.desk import Job
from vl2.documents.results import Outcome
from vl2.errors import InputError

JOBS = [Job(Path(f"in/{number}.pdf"), f"{number}-x", f"{number}") for number in range(100)]


def outcome(job):
    # As a worker elsewhere names it.
    return Outcome(str(Path("/mounted") / job.path), job.folder, "ok", digest=job.digest)


class Cluster:
    """Loses the block of a poisonous document, and once those of `unlucky` ones."""

    def __init__(self, poison=(), unlucky=()):
        self.poison, self.unlucky, self.rounds = set(poison), set(unlucky), []

    def __call__(self, jobs, together):
        self.rounds.append((len(jobs), together))
        for start in range(0, len(jobs), together):
            block = jobs[start : start + together]
            numbers = {int(job.digest) for job in block}
            lost = numbers & (self.poison | self.unlucky)
            self.unlucky -= numbers
            if not lost:
                yield from map(outcome, block)


def test_an_undisturbed_run_is_one_round():
    cluster = Cluster()
    found = list(in_rounds(JOBS, cluster, 32))
    assert [o.path for o in found] == [str(job.path) for job in JOBS]
    assert cluster.rounds == [(100, 32)]


def test_what_was_lost_comes_again():
    cluster = Cluster(unlucky=[3, 70])
    found = list(in_rounds(JOBS, cluster, 32))
    assert sorted(int(o.digest) for o in found) == list(range(100))
    assert {o.status for o in found} == {"ok"}
    assert cluster.rounds == [(100, 32), (64, 4)]


def test_a_document_that_ends_every_worker_takes_no_other_with_it():
    cluster = Cluster(poison=[5, 6])
    found = list(in_rounds(JOBS, cluster, 32))
    assert len(found) == 100
    failed = {o.digest: o for o in found if o.status != "ok"}
    assert set(failed) == {"5", "6"}
    assert (failed["5"].status, failed["5"].folder) == ("failed", "")
    assert failed["5"].path == "in/5.pdf"
    assert [together for _, together in cluster.rounds] == [32, 4, 1, 1]


def test_a_cluster_that_reads_nothing_ends():
    cluster = Cluster(poison=range(100))
    assert {o.status for o in in_rounds(JOBS, cluster, 8)} == {"failed"}
    assert len(cluster.rounds) == 2


def test_an_outcome_that_comes_twice_counts_once():
    def twice(jobs, together):
        return [*map(outcome, jobs), *map(outcome, jobs)]

    assert len(list(in_rounds(JOBS, twice, 8))) == 100


def test_long_lists_go_in_legs(monkeypatch):
    monkeypatch.setattr(rounds, "LEG", 40)
    cluster = Cluster()
    assert len(list(in_rounds(JOBS, cluster, 8))) == 100
    assert cluster.rounds == [(40, 8), (40, 8), (20, 8)]


@pytest.mark.parametrize(
    ("machines", "wanted", "device", "share"),
    [
        ([{"CPU": 8.0}, {"CPU": 8.0}], None, "auto", Share(2, 8, 0)),
        ([{"CPU": 8.0}, {"CPU": 8.0}], 4, "cpu", Share(4, 4, 0)),
        ([{"CPU": 8.0}, {"CPU": 4.0}], 3, "auto", Share(3, 4, 0)),
        ([{"CPU": 1.0}, {}], None, "auto", Share(1, 1, 0)),
        ([{"CPU": 64.0, "GPU": 8.0}, {"CPU": 16.0}], None, "auto", Share(8, 1, 1)),
        ([{"CPU": 64.0, "GPU": 8.0}], 3, "cuda", Share(3, 1, 1)),
        ([{"CPU": 64.0, "GPU": 8.0}], None, "cpu", Share(1, 64, 0)),
    ],
)
def test_the_processors_of_a_cluster_are_shared_out(machines, wanted, device, share):
    assert share_of(machines, wanted, device) == share


@pytest.mark.parametrize(
    ("machines", "wanted", "device", "sentence"),
    [
        ([{"CPU": 2.0}], 3, "auto", "has 2 processors, too few for 3 workers"),
        ([{"CPU": 2.0}], None, "cuda", "1 workers need a GPU each, and the cluster has 0"),
        ([{"CPU": 9.0, "GPU": 2.0}], 3, "auto", "3 workers need a GPU each"),
        ([{"CPU": 9.0, "GPU": 2.0}], None, "cuda:1", "use --device cuda"),
        ([], None, "cpu", "0 processors"),
    ],
)
def test_what_a_cluster_has_not_is_refused(machines, wanted, device, sentence):
    with pytest.raises(InputError, match=sentence):
        share_of(machines, wanted, device)
