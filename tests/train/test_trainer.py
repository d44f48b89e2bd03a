"""What the Trainer would do in silence."""

import os

import torch
from torch import nn
from transformers import TrainingArguments

from vl2.cli import main
from vl2.train.ranks import join
from vl2.train.recipe import Recipe
from vl2.train.trainer import _arguments

SHORT = [
    *("steps=6", "batch_size=2", "global_batch_size=2", "workers=0", "threads=1"),
    *("save_every=1", "log_every=1", "warmup_steps=0"),
]


def test_a_run_that_diverges_is_stopped_and_keeps_its_checkpoints(tmp_path, capsys):
    run = tmp_path / "run"
    settings = [word for setting in [*SHORT, "learning_rate=1e30"] for word in ("--set", setting)]
    assert main(["train", "nano-vision", "--output", str(run), *settings]) == 2
    err = capsys.readouterr().err
    assert "the gradients are no longer finite, so the run was stopped" in err
    assert "loss 0.0000" not in err
    assert not (run / "final").exists()


def test_one_process_trains_on_one_gpu(tmp_path, monkeypatch):
    def four_are_seen(arguments):
        arguments._n_gpu = 4
        return torch.device("cpu")

    monkeypatch.setattr(TrainingArguments, "_setup_devices", property(four_are_seen))
    assert _arguments(Recipe(name="run", bf16=False), tmp_path, nn.Linear(1, 1)).n_gpu == 1


def test_what_a_launcher_says_of_sharding_and_precision_is_left_out(monkeypatch):
    for name in ("ACCELERATE_USE_FSDP", "FSDP_VERSION", "ACCELERATE_MIXED_PRECISION"):
        monkeypatch.setenv(name, "bf16")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    join()
    assert not {name for name in os.environ if "FSDP" in name or "MIXED" in name}
    assert os.environ["ACCELERATE_USE_CPU"] == "true"
