"""transformers' Trainer with our optimizer groups, schedule, log and curves."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainerCallback, TrainingArguments

from vl2.errors import InputError
from vl2.model.loading import load_model
from vl2.model.loss import supervised_positions
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.train.curves import draw_curves
from vl2.train.optim import adamw
from vl2.train.recipe import Recipe, load_recipe
from vl2.train.schedule import learning_rate_factor

LOG_NAME = "log.jsonl"
RECIPE_NAME = "recipe.yaml"


class StageTrainer(Trainer):
    """One stage of training.

    The order of the data is that of the dataset's indices: the dataset itself is the shuffle, so
    that any index can be rendered alone. What a model returns beside its loss as scalars is
    averaged into the log.
    """

    def __init__(
        self,
        recipe: Recipe,
        learner: nn.Module,
        dataset: Dataset[Any],
        **arguments: Any,  # noqa: ANN401 - Trainer's own
    ) -> None:
        super().__init__(model=learner, train_dataset=dataset, **arguments)
        self._recipe = recipe
        self._learner = learner
        self._sums: dict[str, float] = {}
        self._count = 0
        self._load = torch.zeros(())
        self.add_callback(_AfterEachStep(self.balance_experts))

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            self.optimizer = adamw(self._learner, self._recipe)
        return self.optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> LambdaLR:
        if self.lr_scheduler is None:
            factor = learning_rate_factor(self._recipe)
            self.lr_scheduler = LambdaLR(optimizer or self.create_optimizer(), factor)
        return self.lr_scheduler

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:  # noqa: ANN401
        dataset: Any = train_dataset or self.train_dataset
        return SequentialSampler(dataset)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:  # noqa: ANN401 - Trainer's signature
        if "labels" in inputs:
            # Logits only where a label waits for them; routers tell whom they chose.
            keep = supervised_positions(inputs["labels"])
            inputs = {**inputs, "logits_to_keep": keep, "output_router_logits": True}
        computed: Any = super().compute_loss(
            model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch
        )
        loss, outputs = computed
        if outputs.get("expert_load") is not None:
            self._load = self._load + outputs["expert_load"]
        for name, value in outputs.items():
            if name != "loss" and isinstance(value, torch.Tensor) and value.ndim == 0:
                self._sums[name] = self._sums.get(name, 0.0) + float(value.detach())
        self._count += 1
        return (loss, outputs) if return_outputs else loss

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        # The Trainer would match the official names of the file with the names in memory, find
        # none, and go on with untrained weights after a warning.
        if isinstance(self._learner, DeepseekVLV2ForCausalLM):
            saved = load_model(Path(resume_from_checkpoint), device="cpu", dtype=torch.float32)
            self._learner.load_state_dict(saved.state_dict())
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def balance_experts(self) -> None:
        """Move the routers' correction bias against the load since the last step (noaux_tc)."""
        load, self._load = self._load, torch.zeros(())
        if load.ndim == 0:
            return
        self._sums["busiest_expert"] = self._sums.get("busiest_expert", 0.0) + float(
            (load.max(dim=-1).values / load.mean(dim=-1)).mean()
        )
        if self._recipe.bias_step:
            correct: Any = self._learner.correct_router_biases
            correct(load, self._recipe.bias_step)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs and self._count:
            logs.update({name: total / self._count for name, total in self._sums.items()})
            self._sums.clear()
            self._count = 0
        super().log(logs, start_time)


class _AfterEachStep(TrainerCallback):
    """Calls a function after each optimizer step."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action

    def on_step_end(self, *args: object, **kwargs: object) -> None:
        self._action()


class Journal(TrainerCallback):
    """Writes each line of the log as JSON and redraws the curves at each checkpoint."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_log(
        self,
        args: TrainingArguments,
        state: Any,  # noqa: ANN401
        control: Any,  # noqa: ANN401
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        if logs and "loss" in logs:
            with (self._folder / LOG_NAME).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, **logs}) + "\n")

    def on_save(self, *args: object, **kwargs: object) -> None:
        draw_curves(self._folder / LOG_NAME, self._folder / "curves.png")

    def on_train_end(self, *args: object, **kwargs: object) -> None:
        draw_curves(self._folder / LOG_NAME, self._folder / "curves.png")


def run_stage(
    recipe: Recipe,
    folder: Path,
    model: nn.Module,
    dataset: Dataset[Any],
    collate: Callable[[Sequence[Any]], dict[str, Any]],
    callbacks: Sequence[TrainerCallback] = (),
) -> None:
    """Train `model` in place for the recipe's steps, resuming what an earlier run left.

    Args:
        recipe: the resolved recipe; saved in `folder`.
        folder: of the run: checkpoints, log, curves, recipe.
        model: returns a dict or output with `loss`.
        dataset: as many examples as the steps consume, in their order.
        collate: makes a batch of examples.
        callbacks: of the stage, beside the journal.

    Raises:
        InputError: the folder holds a run of another recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, recipe)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    trainer = StageTrainer(
        recipe,
        model,
        dataset,
        args=_arguments(recipe, folder),
        data_collator=collate,
        callbacks=[Journal(folder), *callbacks],
    )
    trainer.train(resume_from_checkpoint=_last_whole_checkpoint(folder))


def _claim(folder: Path, recipe: Recipe) -> None:
    saved = folder / RECIPE_NAME
    if saved.is_file() and load_recipe(str(saved)) != recipe:
        raise InputError(
            f"{folder} holds a run of another recipe: give another folder with --output, or "
            f"delete it to start over ({saved} tells what it was)."
        )
    saved.write_text(recipe.as_yaml(), encoding="utf-8")


def _arguments(recipe: Recipe, folder: Path) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.accumulate,
        max_grad_norm=recipe.clip,
        bf16=recipe.bf16,
        use_cpu=not torch.cuda.is_available(),
        seed=recipe.seed,
        logging_steps=recipe.log_every,
        save_steps=recipe.save_every,
        save_total_limit=2,
        dataloader_num_workers=recipe.workers,
        dataloader_persistent_workers=recipe.workers > 0,
        remove_unused_columns=False,
        report_to=[],
    )


def _last_whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end: the Trainer's state comes last."""
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=_step, reverse=True):
        if (checkpoint / "trainer_state.json").is_file():
            return str(checkpoint)
    return None


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
