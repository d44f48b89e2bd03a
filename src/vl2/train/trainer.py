"""transformers' Trainer with our optimizer groups, schedule, log and curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset, SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer import SCHEDULER_NAME

from vl2.errors import TrainingError
from vl2.model.loading import load_model
from vl2.model.loss import next_labels, supervised_positions
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.train.averages import Averages
from vl2.train.claiming import last_whole_checkpoint
from vl2.train.experts import ExpertWatch
from vl2.train.journal import Journal
from vl2.train.optim import build_optimizer
from vl2.train.ranks import device_count, total
from vl2.train.recipe import Recipe
from vl2.train.resuming import has_optimizer, load_optimizer, save_optimizer
from vl2.train.schedule import learning_rate_factor
from vl2.train.skipping import SkippedRows


class StageTrainer(Trainer):
    """One stage of training.

    The order of the data is that of the dataset's indices: the dataset itself is the shuffle, so
    that any index can be rendered alone. What a model returns beside its loss as scalars is
    averaged into the log.

    Args:
        recipe: the resolved recipe.
        folder: of the run.
        learner: returns a dict or output with `loss`.
        dataset: as many rows as the steps consume, in their order.
        skipped: takes the rows that could not be read.
        parts: names of the parts of the data whose losses are told apart.
        arguments: the Trainer's own.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        learner: nn.Module,
        dataset: Dataset[Any],
        skipped: SkippedRows,
        parts: Sequence[str] = (),
        **arguments: Any,  # noqa: ANN401 - Trainer's own
    ) -> None:
        super().__init__(model=learner, train_dataset=dataset, **arguments)
        self._recipe = recipe
        self._folder = folder
        self._learner = learner
        self._skipped = skipped
        self._parts = parts
        self._documents = 0
        self._averages = Averages()
        self._experts = ExpertWatch(learner, recipe.bias_step, self._averages)
        self.add_callback(_AfterEachStep(self._end_step))

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            self.optimizer = build_optimizer(self._learner, self._recipe)
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

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor | int | None]:
        """The passes of a step; notes what rows were skipped and how many documents there are."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        for batch in batches:
            self._skipped.add(batch.pop("skipped", ()))
        documents = torch.tensor(sum(batch.get("documents", 0) for batch in batches), device=device)
        self._documents = max(1, int(total(documents)))
        return batches, items

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:  # noqa: ANN401 - Trainer's signature
        inputs = dict(inputs)
        documents, parts = inputs.pop("documents", None), inputs.pop("parts", None)
        if "labels" in inputs:
            # Logits only where a label waits for them; routers tell whom they chose.
            inputs["logits_to_keep"] = supervised_positions(inputs["labels"])
            inputs["output_router_logits"] = True
        if documents is not None:
            inputs["balance_share"] = documents / self._documents
        computed: Any = super().compute_loss(
            model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch
        )
        loss, outputs = computed
        if outputs.get("expert_load") is not None:
            self._experts.add(outputs["expert_load"].detach())
        for name, value in outputs.items():
            if name != "loss" and isinstance(value, torch.Tensor) and value.ndim == 0:
                self._averages.add(name, value)
        if self._parts and parts is not None:
            self._add_parts(outputs["logits"].detach(), inputs, parts)
        return (loss, outputs) if return_outputs else loss

    def _add_parts(self, logits: torch.Tensor, inputs: dict[str, Any], parts: torch.Tensor) -> None:
        """Note the cross-entropy of each part of the data, in steps that are logged."""
        if (self.state.global_step + 1) % self._recipe.log_every:
            return
        kept = inputs["logits_to_keep"]
        losses = cross_entropy(
            logits.float(), next_labels(inputs["labels"])[kept], reduction="none"
        )
        for number, name in enumerate(self._parts):
            chosen = parts[kept] == number
            self._averages.add(f"loss_{name}", losses[chosen].sum(), chosen.sum())

    def _end_step(self) -> None:
        self._experts.end_step()
        self._skipped.settle()

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:  # noqa: ANN401
        """As the Trainer, which would clip gradients that are no numbers into all weights.

        Raises:
            TrainingError: the norm is not finite; weights and checkpoints are as they were.
        """
        norm = super()._get_grad_norm(model, grad_norm)
        if not math.isfinite(float(norm)):
            raise TrainingError(_diverged(self.state.global_step + 1, self._folder))
        return norm

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        # The Trainer would match the official names of the file with the names in memory, find
        # none, and go on with untrained weights after a warning.
        if self.is_distributed_loading_by_transformers:
            return  # its weights were loaded from this checkpoint, shard by shard
        if isinstance(self._learner, DeepseekVLV2ForCausalLM):
            saved = load_model(Path(resume_from_checkpoint), device="cpu", dtype=torch.float32)
            self._learner.load_state_dict(saved.state_dict())
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As the Trainer; with a sharded model also what it leaves out then, to be gone on with.

        It comes before the state of the run, which marks a whole checkpoint.
        """
        super().save_model(output_dir, _internal_call)
        if _internal_call and output_dir and self.is_distributed_loading_by_transformers:
            self._save_optimizer_and_scheduler(output_dir)
            self._save_rng_state(output_dir)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        save_optimizer(self._learner, self._plain_optimizer, Path(output_dir))
        if self.args.should_save:
            torch.save(self._schedule.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not has_optimizer(Path(checkpoint)):
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        load_optimizer(self._learner, self._plain_optimizer, Path(checkpoint))
        # The schedule follows from the step. What else it keeps, it keeps by parameter group, and
        # another layout has others.
        schedule = torch.load(Path(checkpoint) / SCHEDULER_NAME, weights_only=True)
        rates = [group["lr"] for group in self._plain_optimizer.param_groups]
        kept = {name: schedule[name] for name in ("last_epoch", "_step_count")}
        self._schedule.load_state_dict(
            {**kept, "_last_lr": rates, "lr_lambdas": [None] * len(rates)}
        )

    @property
    def _schedule(self) -> Any:  # noqa: ANN401 - made by create_scheduler before it is asked for
        return self.lr_scheduler

    @property
    def _plain_optimizer(self) -> Optimizer:
        """The optimizer without what accelerate wraps around it."""
        optimizer: Any = self.optimizer
        return getattr(optimizer, "optimizer", optimizer)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs.update(self._averages.take())
            logs["skipped_rows"] = len(self._skipped)
            if self.is_world_process_zero():
                self._experts.write(self._folder, self.state.global_step)
            else:
                self._experts.forget()
        super().log(logs, start_time)


class _AfterEachStep(TrainerCallback):
    """Calls a function after each optimizer step."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action

    def on_step_end(self, *args: object, **kwargs: object) -> None:
        self._action()


def run_stage(
    recipe: Recipe,
    folder: Path,
    model: nn.Module,
    dataset: Dataset[Any],
    collate: Callable[[Sequence[Any]], dict[str, Any]],
    skipped: SkippedRows,
    parts: Sequence[str] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Train `model` in place for the recipe's steps, resuming what an earlier run left.

    Args:
        recipe: the resolved recipe.
        folder: of the run, which `claim` has taken: checkpoints, log, curves, recipe.
        model: returns a dict or output with `loss`.
        dataset: as many examples as the steps consume, in their order.
        collate: makes a batch of examples.
        skipped: takes the rows that could not be read.
        parts: names of the parts of the data whose losses are told apart.
        tell: takes a short line for people with each line of the log.
    """
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    trainer = StageTrainer(
        recipe,
        folder,
        model,
        dataset,
        skipped,
        parts,
        args=_arguments(recipe, folder, model),
        data_collator=collate,
        callbacks=[Journal(folder, tell)],
    )
    trainer.remove_callback(PrinterCallback)  # the journal tells what matters
    trainer.train(resume_from_checkpoint=last_whole_checkpoint(folder))


def _diverged(step: int, folder: Path) -> str:
    """What is told of gradients that are no numbers."""
    kept = last_whole_checkpoint(folder)
    left = f"{kept} is whole" if kept else "no checkpoint had been written yet"
    return (
        f"At step {step} the gradients are no longer finite, so the run was stopped; {left}. "
        "Lower learning_rate, lengthen warmup_steps, or look for broken rows, in another --output."
    )


def _arguments(recipe: Recipe, folder: Path, model: nn.Module) -> TrainingArguments:
    # A model that is sharded brings its own mixed precision.
    sharded = getattr(model, "is_distributed_loading_by_transformers", False)
    # Gradients summed over passes before they are reduced would lie whole on every device.
    each_pass = {"gradient_accumulation_kwargs": {"sync_each_batch": True}}
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.passes(device_count()),
        max_grad_norm=recipe.clip,
        bf16=recipe.bf16 and not sharded,
        use_cpu=not torch.cuda.is_available(),
        seed=recipe.seed,
        logging_steps=recipe.log_every,
        logging_nan_inf_filter=False,  # it would log a loss that is no number as 0
        save_steps=recipe.save_every,
        save_total_limit=2,
        save_only_model=sharded,  # the Trainer would refuse to save more; StageTrainer does
        dataloader_num_workers=recipe.workers,
        dataloader_persistent_workers=recipe.workers > 0,
        accelerator_config=each_pass if sharded else None,
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
    )
    # A process trains on one GPU. On all that it sees the Trainer would deal out the tiles of a
    # batch apart from the rows that they belong to.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments
