"""What quantisation costs: a model's probabilities against float32, plan by plan, and accuracy.

    python benchmarks/quantization_quality.py                       # nano, 40 questions a task
    python benchmarks/quantization_quality.py --model DIR --accuracy 500 --out result.json

Per answer token of held-out rendered pictures (the true answer is given): the Kullback-Leibler
divergence from the float32 model, and how often the likeliest token is the same. With --accuracy,
the share of questions answered right as well (`vl2 eval synth`). Calibration uses other pictures.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from vl2.chat import as_conversation
from vl2.engine.loading import load_parts
from vl2.engine.sources import find_checkpoint
from vl2.evals.synth import evaluate
from vl2.model.loading import load_model
from vl2.model.modeling import DeepseekVLV2ForCausalLM
from vl2.ops import groupwise
from vl2.ops.kernels.library import instruction_set
from vl2.quantization.calibration import measure_importance
from vl2.quantization.convert import quantise_checkpoint
from vl2.quantization.plan import PARTS, SCHEMES, VL2QuantizationConfig
from vl2.synth import sample
from vl2.synth.evaluation import EVALUATED, heldout
from vl2.synth.export import messages

CALIBRATION = 24


def main() -> None:
    """Measures all plans and prints a table."""
    options = _options()
    folder = find_checkpoint(options.model)
    model, processor = load_parts(options.model, "cpu", "float32")
    examples = [
        processor.encode(as_conversation(_told(sample, turn)), generate=False)
        for task in EVALUATED
        for sample, turn in heldout(task, options.count)
    ]
    batches = [(processor.collate([e]), torch.from_numpy(e.supervised)) for e in examples]
    exact = _log_probabilities(model, batches)
    importance = measure_importance(model, _other_pictures(processor))
    rows = []
    for name, plan, calibrated, searched in _plans(options.quick):
        with tempfile.TemporaryDirectory() as place:
            usual, groupwise._SEARCHED = groupwise._SEARCHED, searched
            given = importance if calibrated else None
            quantise_checkpoint(folder, Path(place) / "out", plan, importance=given)
            groupwise._SEARCHED = usual
            quantised = load_model(Path(place) / "out", dtype=torch.float32)
        rows.append({"plan": name, **_compare(exact, _log_probabilities(quantised, batches))})
        if options.accuracy and name in (*SCHEMES, "int4, calibrated"):
            scores = [evaluate(quantised, processor, task, options.accuracy) for task in EVALUATED]
            rows[-1]["accuracy"] = {score.task: score.accuracy for score in scores}
        sys.stdout.write(_line(rows[-1]))
        sys.stdout.flush()
    if options.accuracy:
        scores = [evaluate(model, processor, task, options.accuracy) for task in EVALUATED]
        rows.append({"plan": "float32", "accuracy": {s.task: s.accuracy for s in scores}})
    if options.out:
        record = {
            "model": options.model,
            "date": dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
            "kernels": instruction_set(),
            "tokens": len(exact),
            "plans": rows,
        }
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--count", type=int, default=40, help="questions a task")
    parser.add_argument("--accuracy", type=int, default=0, help="questions a task; 0 for none")
    parser.add_argument("--quick", action="store_true", help="the two schemes only")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def _plans(
    quick: bool,
) -> Iterator[tuple[str, VL2QuantizationConfig, bool, tuple[float, ...]]]:
    searched = groupwise._SEARCHED
    int8, int4 = (VL2QuantizationConfig.named(name) for name in ("int8", "int4"))
    yield "int8", int8, False, searched
    yield "int4", int4, False, searched
    yield "int4, calibrated", int4, True, searched
    if quick:
        return
    yield "int4, no search", int4, False, ()
    for group in (32, 64, 128):
        yield f"int8 in groups of {group}", VL2QuantizationConfig(int8.bits, group), False, ()
        yield f"int4 in groups of {group}", VL2QuantizationConfig(int4.bits, group), False, searched
    for part in PARTS:
        yield f"only {part} in 4 bits", VL2QuantizationConfig({part: 4}), False, searched
    for change in ({"head": 4}, {"attention": 8}, {"attention": 8, "shared": 8, "dense": 8}):
        name = ", ".join(f"{part} {bits}" for part, bits in change.items())
        yield f"int4, {name}", VL2QuantizationConfig({**int4.bits, **change}), False, searched
    yield "4 bits throughout", VL2QuantizationConfig(dict.fromkeys(PARTS, 4)), False, searched


def _told(sample: object, turn: object) -> list[dict]:
    marks = "<image>\n" * len(sample.images)
    return [
        {"role": "user", "content": f"{marks}{turn.question}", "images": sample.images},
        {"role": "assistant", "content": turn.answer},
    ]


def _other_pictures(processor: object) -> Iterator[dict]:
    """Training pictures, with their questions and answers."""
    for seed in range(CALIBRATION):
        drawn = sample(seed)
        if drawn.turns:
            conversation = as_conversation(messages(drawn), drawn.images)
            yield processor.collate([processor.encode(conversation, generate=False)])


@torch.inference_mode()
def _log_probabilities(model: DeepseekVLV2ForCausalLM, batches: list) -> torch.Tensor:
    """Of every token before one of an answer, `[tokens, v]`."""
    rows = []
    for batch, supervised in batches:
        logits = model(**batch).logits[0, :-1][supervised[1:]]
        rows.append(logits.to(torch.float32).log_softmax(-1))
    return torch.cat(rows)


def _compare(exact: torch.Tensor, other: torch.Tensor) -> dict[str, float]:
    apart = (exact.exp() * (exact - other)).sum(-1).clamp(min=0)
    order = apart.sort().values
    return {
        "mean": apart.mean().item(),
        "median": order[len(order) // 2].item(),
        "p99": order[int(0.99 * len(order))].item(),
        "same": (exact.argmax(-1) == other.argmax(-1)).float().mean().item(),
    }


def _line(row: Mapping[str, object]) -> str:
    right = row.get("accuracy")
    scores = f"  right {100 * sum(right.values()) / len(right):.1f} %" if right else ""
    return (
        f"{row['plan']:<34} KL mean {row['mean']:.5f}  median {row['median']:.6f}  "
        f"p99 {row['p99']:.4f}  same token {100 * row['same']:.1f} %{scores}\n"
    )


if __name__ == "__main__":
    main()
