"""What the engine itself costs: time of a step with one and with many answers, and who takes it.

    python benchmarks/engine.py [--model nano] [--at-once 16] [--tokens 128] [--cpu-time]
    python benchmarks/engine.py --model tiny --random --quantize int4

Prints milliseconds of a decode step, the part of it outside the model, tokens a second, and the
time to the first token of a first and of a second question about one picture. Beside it stands
transformers' `generate` on the same weights. `--out` keeps all of it as JSON. `--cpu-time` counts
the processor time of the thread, for machines that are busy with other things; keep it to one
thread then (OMP_NUM_THREADS=1).
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.resources
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from vl2.chat import as_conversation
from vl2.engine import Request, Sampling
from vl2.engine.core import Core
from vl2.engine.limits import Limits
from vl2.engine.loading import load_parts
from vl2.evals.speed.shapes import processor_for, random_model
from vl2.model.released import released_config
from vl2.processing.prompt import Prompt
from vl2.quantization.packing import pack
from vl2.quantization.plan import VL2QuantizationConfig

PICTURE = Path(str(importlib.resources.files("vl2"))) / "assets" / "pictures" / "receipt.png"


class Bench:
    """A model, and how long things take with it."""

    def __init__(self, given: argparse.Namespace, clock: Callable[[], float]) -> None:
        if given.random:
            config = released_config(given.model)
            self.processor = processor_for(config)
            plan = VL2QuantizationConfig.named(given.quantize) if given.quantize else None
            loaded = random_model(config, torch.bfloat16, plan)
        else:
            loaded, self.processor = load_parts(given.model, "auto", "auto", given.quantize)
        self.model = pack(loaded)
        self.clock, self.picture = clock, given.picture

    def prompt(self, question: str) -> Prompt:
        """A question about the picture."""
        return self.processor.encode(as_conversation(question, [str(self.picture)]))

    def core(self) -> Core:
        """A fresh engine without a thread."""
        made = Core(self.model, self.processor, Limits())
        made.settle()
        return made

    def steps(self, prompt: Prompt, at_once: int, tokens: int) -> tuple[float, float]:
        """Median seconds of a decode step, and of the part of it that the model takes."""
        core = self.core()
        sampling = Sampling(max_tokens=tokens, ignore_eos=True)
        for _ in range(at_once):
            core.add(core.prepare(Request(prompt, sampling), lambda event: None))
        while any(sequence.remaining > 1 for sequence in core.scheduler.sequences):
            core.step()
        inside: list[float] = []
        run = core._runner.run

        def timed(spans: list) -> torch.Tensor:
            start = self.clock()
            logits = run(spans)
            inside.append(self.clock() - start)
            return logits

        core._runner.run = timed
        whole = []
        while core.busy:
            start = self.clock()
            core.step()
            whole.append(self.clock() - start)
        return statistics.median(whole), statistics.median(inside)

    def first_tokens(self) -> list[float]:
        """Seconds to the first token of two questions about one picture, one after the other."""
        core, seconds = self.core(), []
        for question in ("What is the total?", "How many lines of text are there?"):
            request = Request(self.prompt(question), Sampling(max_tokens=1))
            start = self.clock()
            core.add(core.prepare(request, lambda event: None))
            while core.busy:
                core.step()
            seconds.append(self.clock() - start)
        return seconds

    def generated(self, prompt: Prompt, tokens: int) -> float:
        """Seconds of a token of transformers' `generate`."""
        batch = self.processor.collate([prompt]).to(self.model.device)
        took = []
        for count in (1, 1 + tokens):
            start = self.clock()
            self.model.generate(
                **batch, max_new_tokens=count, min_new_tokens=count, do_sample=False
            )
            took.append(self.clock() - start)
        return (took[1] - took[0]) / tokens


def report(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--random", action="store_true", help="random weights in that shape")
    parser.add_argument("--quantize", choices=("int8", "int4"))
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--no-generate", action="store_true", help="leave transformers out")
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    record = measure(given)
    if given.out:
        given.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def measure(given: argparse.Namespace) -> dict[str, object]:
    """Measures, prints, and returns what was measured, in seconds."""
    bench = Bench(given, time.thread_time if given.cpu_time else time.perf_counter)
    prompt = bench.prompt("What is the total?")
    record: dict[str, object] = {
        "date": dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
        "machine": {"system": platform.platform(), "processors": os.cpu_count()},
        "threads": torch.get_num_threads(),
        "model": given.model,
        "quantize": given.quantize,
        "prompt_tokens": len(prompt),
    }
    report(f"{given.model}, {torch.get_num_threads()} threads, a prompt of {len(prompt)} tokens")
    bench.steps(prompt, 1, 16)  # warm
    rates = []
    for at_once in (1, given.at_once):
        whole, inside = bench.steps(prompt, at_once, given.tokens)
        rates.append(
            {"at_once": at_once, "step": whole, "model": inside, "per_second": at_once / whole}
        )
        report(
            f"{at_once:3d} at once: {whole * 1e3:.2f} ms a step, {(whole - inside) * 1e3:.2f} ms "
            f"of it outside the model, {at_once / whole:.0f} tokens/s"
        )
    record["steps"] = rates
    if not given.no_generate:
        per_token = record["generate_token"] = bench.generated(prompt, given.tokens)
        report(f"generate: {per_token * 1e3:.2f} ms a token")
    first, second = record["first_tokens"] = bench.first_tokens()
    report(
        f"first token: {first * 1e3:.0f} ms, of a second question {second * 1e3:.0f} ms "
        f"({second / first:.0%})"
    )
    return record


if __name__ == "__main__":
    main()
