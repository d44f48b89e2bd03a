"""Evaluation on held-out rendered pictures: how often is the embedded model right?

Pictures come from seeds, and printed strings from a class of strings, that training never sees
(`vl2.synth`). Every reply is greedy and is judged by `vl2.evals.judging.judge`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

import torch

from vl2.chat import as_conversation
from vl2.evals.judging import judge
from vl2.evals.metrics.distance import character_error_rate
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.processing.processor import DeepseekVLV2Processor
from vl2.processing.prompt import Prompt
from vl2.synth.evaluation import heldout
from vl2.synth.sampling import Sample, Turn

MAX_NEW_TOKENS = 96
_LONG_ANSWERS = {"paragraph": 320, "table_markdown": 320}
"""Tokens of an answer at most, where more is asked for than what is usual."""

_MISSES_KEPT = 12
_READING = frozenset(("word", "number", "lines", "paragraph", "small_text"))
"""Tasks whose answers are print, letter by letter."""


@dataclass(frozen=True, slots=True)
class Miss:
    """A question that the model got wrong."""

    question: str
    wanted: str
    reply: str


@dataclass(frozen=True, slots=True)
class TaskScore:
    """How a model did on one task.

    Attributes:
        task: name of the task.
        right: questions answered right.
        asked: questions asked, one a picture.
        misses: the first few wrong replies.
        character_error: where print was read, wrong characters as a share of all printed ones.
    """

    task: str
    right: int
    asked: int
    misses: tuple[Miss, ...] = field(default=(), repr=False)
    character_error: float | None = None

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0 to 1."""
        return self.right / self.asked

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the accuracy (Wilson's score)."""
        z, n, p = 1.959964, self.asked, self.accuracy
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, centre - half), min(1.0, centre + half)

    def as_dict(self) -> dict[str, object]:
        """The score as JSON shows it."""
        low, high = self.interval
        return {**asdict(self), "accuracy": self.accuracy, "low": low, "high": high}


def evaluate(
    model: DeepseekVLV2ForCausalLM,
    processor: DeepseekVLV2Processor,
    task: str,
    count: int,
    batch_size: int = 50,
    progress: Callable[[int], None] | None = None,
    max_tiles: int | None = None,
) -> TaskScore:
    """Ask the first `count` held-out questions of a task.

    Args:
        model: in evaluation mode, on its device.
        processor: of the model.
        task: a task of `vl2.synth.evaluation`.
        count: pictures, one question each.
        batch_size: questions answered at once.
        progress: told after each batch how many questions it had.
        max_tiles: local tiles of a picture at most, to see what they are good for.
    """
    items = heldout(task, count)
    right = 0
    misses: list[Miss] = []
    read: list[tuple[str, str]] = []
    for batch in _batches(items, batch_size):
        replies = _answer(model, processor, batch, max_tiles)
        for (sample, turn), reply in zip(batch, replies, strict=True):
            read.append((turn.answer, reply.strip()))
            if judge(turn, reply, sample):
                right += 1
            elif len(misses) < _MISSES_KEPT:
                misses.append(Miss(turn.question, turn.answer, reply))
        if progress is not None:
            progress(len(batch))
    error = character_error_rate(read) if task in _READING else None
    return TaskScore(task, right, len(items), tuple(misses), error)


@torch.inference_mode()
def _answer(
    model: DeepseekVLV2ForCausalLM,
    processor: DeepseekVLV2Processor,
    batch: Sequence[tuple[Sample, Turn]],
    max_tiles: int | None,
) -> list[str]:
    """Greedy replies to one question about each sample."""
    prompts = [_prompt(processor, *item, max_tiles) for item in batch]
    inputs = processor.collate(prompts).to(model.device)
    most = max(_LONG_ANSWERS.get(turn.task, MAX_NEW_TOKENS) for _, turn in batch)
    tokens = model.generate(**inputs, do_sample=False, max_new_tokens=most)
    replies = tokens[:, inputs["input_ids"].shape[1] :]
    return [_text(processor, reply) for reply in replies]


def _prompt(
    processor: DeepseekVLV2Processor, sample: Sample, turn: Turn, max_tiles: int | None
) -> Prompt:
    conversation = as_conversation(turn.question, sample.images)
    return processor.encode(conversation, max_tiles=max_tiles)


def _text(processor: DeepseekVLV2Processor, reply: torch.Tensor) -> str:
    """The reply up to its end, with its grounding tags."""
    tokenizer = processor.tokenizer
    ends = (reply == tokenizer.eos_token_id).nonzero()
    kept = reply[: int(ends[0])] if len(ends) else reply
    return tokenizer.decode(kept, skip_special_tokens=False)


def _batches(
    items: Sequence[tuple[Sample, Turn]], size: int
) -> Iterator[Sequence[tuple[Sample, Turn]]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
