r"""How costs grow: a token with its context, a prompt with its length, memory with the requests.

    OMP_NUM_THREADS=2 python benchmarks/growth.py --shape tiny --quantize int4 \
        --out benchmarks/results/growth_tiny_int4_NAME_DATE.json

Random weights in a released shape, in this thread, one thing after the other. Beside the JSON a
chart is drawn. Memory is what the process holds more than before the first request; the cache is
counted by its pages too.
"""

from __future__ import annotations

import argparse
import datetime as dt
import gc
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import torch

from vl2.engine.core import Core
from vl2.engine.limits import Limits
from vl2.engine.requests import Request
from vl2.engine.sampling import Sampling
from vl2.engine.storage import page_bytes
from vl2.evals.speed.measure import random_words
from vl2.evals.speed.shapes import processor_for, random_model
from vl2.model.released import released_config
from vl2.quantization.packing import pack
from vl2.quantization.plan import VL2QuantizationConfig

CONTEXTS = (256, 512, 1024, 2048, 3072, 4072)
REQUESTS = (1, 2, 4, 8, 16)


class Growth:
    """A random model, and what it costs to use."""

    def __init__(self, shape: str, scheme: str | None) -> None:
        self.config = released_config(shape)
        self.processor = processor_for(self.config)
        plan = None if scheme is None else VL2QuantizationConfig.named(scheme)
        self.model = pack(random_model(self.config, torch.bfloat16, plan))

    def core(self) -> Core:
        """A fresh engine; answers end when they are as long as was asked for."""
        made = Core(self.model, self.processor, Limits(cache_tokens=16 * 1024, picture_bytes=0))
        made.ends.clear()
        made.settle()
        return made

    def add(self, core: Core, tokens: int, answer: int, seed: int) -> None:
        """Queue a prompt of text."""
        prompt = random_words(self.processor, tokens, seed)
        core.add(core.prepare(Request(prompt, Sampling(max_tokens=answer)), lambda _: None))

    def times(self, context: int, answer: int) -> tuple[float, float]:
        """Seconds of a prompt, and of a token after it (median)."""
        core = self.core()
        self.add(core, context, answer, context)
        started = time.perf_counter()
        while any(sequence.remaining > 1 for sequence in core.scheduler.sequences):
            core.step()
        prompt, steps = time.perf_counter() - started, []
        while core.busy:
            started = time.perf_counter()
            core.step()
            steps.append(time.perf_counter() - started)
        return prompt, statistics.median(steps)

    def memory(self, requests: int, tokens: int) -> tuple[int, int]:
        """Bytes that so many conversations take: of the process, and of their pages."""
        gc.collect()
        core = self.core()
        before = resident()
        for seed in range(requests):
            self.add(core, tokens, 2 * requests + 8, seed)
        held = 0
        while core.busy:
            core.step()
            held = max(held, core.stats().pages_held)
        each = page_bytes(self.config.language_config, torch.bfloat16)
        return resident() - before, held * each


def resident() -> int:
    """Bytes of memory of this process."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def draw(record: dict, path: Path) -> None:
    """Three panels: a token, a prompt, memory."""
    from matplotlib import pyplot as plt

    figure, (token, prompt, memory) = plt.subplots(1, 3, figsize=(13, 3.8))
    contexts = [point["context"] for point in record["contexts"]]
    token.plot(contexts, [1e3 * p["token_seconds"] for p in record["contexts"]], "o-")
    token.set(title="a token", xlabel="tokens before it", ylabel="ms", ylim=0)
    prompt.plot(contexts, [p["prompt_seconds"] for p in record["contexts"]], "o-")
    prompt.set(title="a prompt, up to the first token", xlabel="tokens", ylabel="s", ylim=0)
    counts = [point["requests"] for point in record["requests"]]
    for key, style, label in (("process", "o-", "process"), ("page", "s--", "pages")):
        sizes = [point[f"{key}_bytes"] / 1e6 for point in record["requests"]]
        memory.plot(counts, sizes, style, label=label)
    title = f"conversations of {record['request_tokens']} tokens"
    memory.set(title=title, xlabel="at the same time", ylabel="MB", ylim=0)
    memory.legend(frameon=False)
    for axis in (token, prompt, memory):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    name = f"{record['shape']}, {record['quantize'] or 'bfloat16'}"
    figure.suptitle(f"{name}, {record['threads']} threads, {record['date']}", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Measures, prints and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="tiny", choices=("tiny", "small", "base"))
    parser.add_argument("--quantize", choices=("int8", "int4"))
    parser.add_argument("--contexts", type=int, nargs="+", default=CONTEXTS)
    parser.add_argument("--requests", type=int, nargs="+", default=REQUESTS)
    parser.add_argument("--tokens", type=int, default=256, help="of each of several conversations")
    parser.add_argument("--answer", type=int, default=17)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    growth = Growth(options.shape, options.quantize)
    growth.times(32, 4)  # warm
    record: dict = {
        "date": dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
        "machine": {"system": platform.platform(), "processors": os.cpu_count()},
        "threads": torch.get_num_threads(),
        "shape": options.shape,
        "quantize": options.quantize,
        "request_tokens": options.tokens,
        "contexts": [],
        "requests": [],
    }
    for context in options.contexts:
        prompt, token = growth.times(context, options.answer)
        record["contexts"].append(
            {"context": context, "prompt_seconds": prompt, "token_seconds": token}
        )
        _tell(f"{context:5d} tokens: prompt {prompt:.2f} s, then {1e3 * token:.1f} ms a token")
    for count in options.requests:
        process, pages = growth.memory(count, options.tokens)
        record["requests"].append(
            {"requests": count, "process_bytes": process, "page_bytes": pages}
        )
        _tell(f"{count:5d} at once: {process / 1e6:.0f} MB more, {pages / 1e6:.0f} MB in pages")
    if options.out:
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        draw(record, options.out.with_suffix(".png"))


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
