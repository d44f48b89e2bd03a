"""An errand crosses processes as text and comes out the same."""

from dataclasses import replace
from pathlib import Path

import pytest

from vl2.documents import tasks
from vl2.documents.batch.errand import (
    Errand,
    device_of,
    job_as_dict,
    job_from_dict,
    outcome_from_dict,
)
from vl2.documents.desk import Job
from vl2.documents.pages import PageChoice
from vl2.documents.readers import Usage
from vl2.documents.rendering.limits import Limits
from vl2.documents.results import Outcome
from vl2.documents.settings import Settings


def everything():
    asked = (
        tasks.read_text(),
        tasks.read_markdown(),
        tasks.read_tables(),
        tasks.read_fields("total, “date”"),
        tasks.ask("Où ça?\nWhen?"),
        tasks.locate("the stamp"),
    )
    settings = Settings(
        asked,
        model="folder/model",
        dtype="float32",
        fingerprint="abc",
        pages=PageChoice.parse("1-3,7,10-"),
        dpi=100,
        text_layer="compare",
        across=3,
        max_tokens=17,
    )
    limits = Limits(seconds=1.5, memory=2**28, pages=3)
    return Errand(settings, Path("/some where/out"), limits, 5, False, "cpu", "2GB", "u", True)


def test_an_errand_is_the_same_at_the_other_end():
    text = everything().as_text()
    assert "\n" not in text
    assert Errand.from_text(text) == everything()


def test_no_field_of_an_errand_is_at_its_default_above():
    plain = Errand(Settings((tasks.read_text(),)), Path(), Limits())
    for name in Errand.__slots__:
        assert getattr(everything(), name) != getattr(plain, name), name


def test_names_that_are_no_unicode_survive():
    job = Job(Path("/in/half \udcff.pdf"), "half-1", "00")
    assert job_from_dict(job_as_dict(job)) == job
    errand = replace(everything(), out=Path("/out \udcff"))
    assert Errand.from_text(errand.as_text()) == errand


def test_an_outcome_survives():
    outcome = Outcome("a", "b", "partial", "c", 3, 2, 1, {"total": None}, Usage(1, 2, 3), "d")
    values = {name: getattr(outcome, name) for name in Outcome.__slots__}
    values["usage"] = {"prompt_tokens": 1, "image_tokens": 2, "completion_tokens": 3}
    assert outcome_from_dict(values) == outcome


@pytest.mark.parametrize(
    ("wanted", "seat", "gpus", "device"),
    [
        ("auto", 0, 0, "auto"),
        ("auto", 3, 2, "cuda:1"),
        ("cuda", 1, 4, "cuda:1"),
        ("cuda:3", 1, 4, "cuda:3"),
        ("cpu", 1, 4, "cpu"),
    ],
)
def test_workers_of_a_machine_take_its_gpus_in_turn(wanted, seat, gpus, device):
    assert device_of(wanted, seat, gpus) == device
