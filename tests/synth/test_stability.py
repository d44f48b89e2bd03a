"""What a seed gives does not change: models are measured on pictures that training avoided."""

import hashlib
import json
from pathlib import Path

import PIL
import pytest

from vl2.synth import Sample, heldout, sample
from vl2.synth.kinds import KINDS
from vl2.synth.sampling import TASK_WEIGHTS

DIGESTS = Path(__file__).parents[1] / "data" / "synth_digests.json"


def digest(samples: list[Sample]) -> str:
    found = hashlib.sha256()
    for of in samples:
        for scene in of.scenes:
            found.update(repr(scene.image.size).encode())
            found.update(scene.image.tobytes())
            for thing in scene.things:
                corners = (thing.x1, thing.y1, thing.x2, thing.y2)
                found.update(repr((thing.kind, thing.colour, thing.name, corners)).encode())
        for turn in of.turns:
            found.update(repr((turn.task, turn.question, turn.answer)).encode())
        for scene in of.scenes:
            found.update(repr(scene.characters).encode())
    return found.hexdigest()


def mixture(split: str) -> list[Sample]:
    return [sample(seed, split) for seed in range(60)]


def of_kind(kind: str) -> list[Sample]:
    both = [(split, seed) for split in ("train", "heldout") for seed in range(12)]
    return [sample(seed, split, kinds={kind: 1.0}) for split, seed in both]


def of_task(task: str) -> list[Sample]:
    return [of for of, _ in heldout(task, 16)]


def few_turns() -> list[Sample]:
    tasks, kinds = {"colour": 2.0, "listing": 1.0, "word": 1.0}, {"one": 0.2, "both": 0.8}
    return [sample(seed, kinds=kinds, tasks=tasks, turns=(1, 3)) for seed in range(24)]


MADE = {
    "train": lambda: mixture("train"),
    "heldout": lambda: mixture("heldout"),
    "few turns": few_turns,
    **{f"kind {kind}": lambda kind=kind: of_kind(kind) for kind in KINDS},
    **{f"task {task}": lambda task=task: of_task(task) for task in TASK_WEIGHTS},
}


@pytest.mark.parametrize("name", MADE)
def test_a_seed_gives_what_it_gave_when_models_were_trained(name):
    saved = json.loads(DIGESTS.read_text("utf-8"))
    if saved["pillow"] != PIL.__version__:
        pytest.skip("another Pillow may round a few pixels of letters differently")
    assert digest(MADE[name]()) == saved["digests"][name]
