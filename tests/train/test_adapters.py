"""Adapters through a recipe: trained, stopped, gone on with, merged, loaded again."""

import json
import shutil

import pytest
import torch
from golden import checkpoint

import vl2
from vl2.cli import main
from vl2.errors import CheckpointError, InputError
from vl2.model.adapters import merge_adapter
from vl2.model.loading import load_model

pytest.importorskip("peft")


BASE = checkpoint("base")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    lines = []
    for number in range(6):
        question = {"role": "user", "content": f"say {number}"}
        answer = {"role": "assistant", "content": f"number {number}"}
        lines.append(json.dumps({"messages": [question, answer]}))
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder / "rows.jsonl"


def train(rows, output):
    settings = {
        "model": BASE,
        "data": rows,
        "shape": "",
        "lora_rank": 4,
        "steps": 4,
        "global_batch_size": 2,
        "packing": False,
        "max_tokens": 200,
        "warmup_steps": 0,
        "learning_rate": 1e-2,
        "workers": 0,
        "threads": 1,
        "log_every": 1,
        "save_every": 2,
    }
    words = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    return main(["train", "base-sft", "--output", str(output), *words])


@pytest.fixture(scope="module")
def run(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "lora"
    assert train(rows, folder) == 0
    return folder


def losses(folder):
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["step"]: row["loss"] for row in map(json.loads, lines)}


def test_only_adapters_learn_and_the_loss_falls(run):
    found = losses(run)
    assert found[4] < found[1]
    before, after = (
        load_model(folder, dtype=torch.float32).state_dict() for folder in (BASE, run / "final")
    )
    changed = {
        name
        for name in before
        if not torch.allclose(before[name], after[name], rtol=1e-2, atol=1e-3)
    }
    assert changed
    assert all(".layers." in name and "gate.weight" not in name for name in changed)
    assert any(".experts." in name for name in changed)
    assert any("shared_experts" in name for name in changed)
    assert any("self_attn" in name for name in changed)


def test_a_stopped_run_goes_on_as_if_it_never_stopped(run, rows, tmp_path):
    stopped = tmp_path / "stopped"
    shutil.copytree(run, stopped)
    shutil.rmtree(stopped / "checkpoint-4")
    shutil.rmtree(stopped / "final")
    (stopped / "log.jsonl").unlink()
    assert train(rows, stopped) == 0
    exact = losses(run)
    assert losses(stopped) == {3: exact[3], 4: exact[4]}


def test_an_adapter_is_taken_up_into_its_model(run):
    adapted = merge_adapter(load_model(BASE, dtype=torch.float32), run / "adapter")
    merged = load_model(run / "final", dtype=torch.float32).state_dict()
    for name, weight in adapted.state_dict().items():
        torch.testing.assert_close(merged[name], weight, rtol=1e-2, atol=1e-3)
    answers = {
        vl2.load(BASE, "cpu", "float32", adapter=adapter)
        .ask([], "say 1", max_tokens=8, temperature=0)
        .text
        for adapter in (None, run / "adapter")
    }
    assert len(answers) == 2


def test_what_is_no_adapter_is_told(run, tmp_path):
    with pytest.raises(CheckpointError, match=r"adapter_config\.json is absent"):
        vl2.load(BASE, adapter=tmp_path)
    with pytest.raises(CheckpointError, match="does not fit"):
        vl2.load(checkpoint("tiny"), adapter=run / "adapter")
    with pytest.raises(InputError, match="Quantised weights"):
        vl2.load(BASE, quantize="int8", adapter=run / "adapter")
