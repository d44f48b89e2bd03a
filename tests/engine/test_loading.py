"""`vl2.load` on real folders: whole, and broken in every way that happens."""

import shutil
from pathlib import Path

import pytest
import torch
from broken import BROKEN
from golden import GOLDEN, checkpoint

import vl2
from vl2.engine import loading
from vl2.errors import CheckpointError, InputError

PICTURE = GOLDEN / "images" / "97x61.png"


def test_a_folder_answers() -> None:
    assistant = vl2.load(checkpoint("small"), device="cpu", dtype="bfloat16")
    assert (assistant.device, assistant.dtype) == ("cpu", "bfloat16")
    answer = assistant.ask(PICTURE, "What?", max_tokens=3)
    assert answer.usage.completion_tokens <= 3
    assert answer.usage.image_tokens == 421


def test_automatic_choices_for_a_small_model() -> None:
    assistant = vl2.load(checkpoint("base"))
    assert assistant.dtype == "float32"
    assert assistant.device == ("cuda:0" if torch.cuda.is_available() else assistant.device)


def test_the_embedded_model_answers(nano: Path) -> None:
    answer = vl2.load().ask(PICTURE, "What is in the picture?", max_tokens=5)
    assert answer.usage.completion_tokens >= 1


def test_a_device_and_a_type_that_do_not_exist() -> None:
    with pytest.raises(InputError, match="'gpu'"):
        vl2.load(checkpoint("tiny"), device="gpu")
    with pytest.raises(InputError, match="'int3'"):
        vl2.load(checkpoint("tiny"), dtype="int3")


def test_a_cache_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise MemoryError

    monkeypatch.setattr(loading, "BatchingEngine", full)
    with pytest.raises(CheckpointError, match=r"no room for 'nano' .* set a memory budget"):
        vl2.load(device="cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole checkpoint, to be broken."""
    return Path(shutil.copytree(checkpoint("tiny"), tmp_path / "model"))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_folder_is_told_in_one_sentence(folder: Path, name: str) -> None:
    break_it, said = BROKEN[name]
    break_it(folder)
    with pytest.raises(CheckpointError) as caught:
        vl2.load(folder)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
