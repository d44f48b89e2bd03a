"""Many clients at once against a server of this machine: is every answer the one given alone?

    python benchmarks/load_test.py --seconds 60 --clients 32 --out benchmarks/results/NAME

Starts `vl2 serve` with the embedded model on a loopback port. First every question of a fixed set
(short and long answers, with and without pictures, streamed and not, greedy and with a seed) is
asked alone. Then the clients ask them in turn for the given time, each in an order of its own, and
every answer must equal the one given alone. The memory of the server is read meanwhile; it counts
as flat if the last third of the time needs no more than 5 % above the first third's largest.

Writes the figures to NAME.json and NAME.md and a chart of them to NAME.png, and ends with 1
if an answer was wrong or lost, an error came, or the memory grew.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import datetime as dt
import json
import os
import platform
import random
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from matplotlib.figure import Figure

from vl2.server.child import served

PICTURES = Path(__file__).resolve().parents[1] / "src" / "vl2" / "assets" / "pictures"
GROWTH = 1.05
_SAMPLES_A_SECOND = 2
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Outcome:
    """What came of the answers.

    Attributes:
        seconds: from question to whole answer, of each.
        first: from question to the first piece, of the streamed ones.
        tokens: tokens of all answers.
        wrong: answers that differ from the one given alone, and errors, in words.
        begun: questions that were asked.
        memory: seconds since the start, and resident bytes of the server then.
    """

    seconds: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    tokens: int = 0
    wrong: list[str] = field(default_factory=list)
    begun: int = 0
    memory: list[tuple[float, int]] = field(default_factory=list)


def questions() -> list[dict[str, Any]]:
    """Bodies of requests: short and long, text and image, streamed and not."""
    asked = [
        ("What shape is red?", ("shapes",)),
        ("What does the text say?", ("sign",)),
        ("<|grounding|>Describe the picture.", ("mixed",)),
        ("Which of the pictures show a star?", ("shapes", "sign", "mixed")),
        ("How many shapes are there?", ()),
        ("Tell me about shapes and colours. " * 12, ()),
    ]
    bodies = []
    for number, (question, names) in enumerate(asked):
        for length, temperature, stream in ((8, 0.0, True), (8, 1.0, False), (96, 1.0, True)):
            content = [*map(_picture, names), {"type": "text", "text": question}]
            body: dict[str, Any] = {
                "model": "nano",
                "messages": [{"role": "user", "content": content}],
                "max_tokens": length,
                "temperature": temperature,
                "seed": number,
                "stream": stream,
            }
            if stream:
                body["stream_options"] = {"include_usage": True}
            bodies.append(body)
    return bodies


def _picture(name: str) -> dict[str, Any]:
    encoded = base64.b64encode((PICTURES / f"{name}.png").read_bytes()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}


async def ask(client: httpx.AsyncClient, body: dict[str, Any]) -> tuple[str, int, float | None]:
    """One answer: its text, its tokens, and when its first piece came."""
    if not body["stream"]:
        reply = (await client.post("/v1/chat/completions", json=body)).raise_for_status().json()
        return reply["choices"][0]["message"]["content"], reply["usage"]["completion_tokens"], None
    text, tokens, first, done = "", 0, None, False
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if line == "data: [DONE]":
                done = True
            elif line.startswith("data: "):
                chunk = json.loads(line.removeprefix("data: "))
                piece = chunk["choices"][0]["delta"].get("content") if chunk["choices"] else None
                if piece:
                    first = first or time.perf_counter()
                    text += piece
                if chunk.get("usage"):
                    tokens = chunk["usage"]["completion_tokens"]
    if not done:
        raise RuntimeError("The stream ended early.")
    return text, tokens, first


async def one_client(
    number: int, url: str, alone: list[tuple[dict[str, Any], str]], until: float, outcome: Outcome
) -> None:
    """Ask until the time is over, in an order of its own."""
    order = random.Random(number)
    async with httpx.AsyncClient(base_url=url, timeout=300, trust_env=False) as client:
        while time.perf_counter() < until:
            body, expected = order.choice(alone)
            outcome.begun += 1
            start = time.perf_counter()
            try:
                text, tokens, first = await ask(client, body)
            except (httpx.HTTPError, RuntimeError, KeyError) as error:
                outcome.wrong.append(f"client {number}: {error!r}")
                continue
            outcome.seconds.append(time.perf_counter() - start)
            outcome.tokens += tokens
            if first is not None:
                outcome.first.append(first - start)
            if text != expected:
                outcome.wrong.append(f"client {number}: {text!r} instead of {expected!r}")


async def watch_memory(process: int, until: float, outcome: Outcome) -> None:
    """Read the memory of a process now and then."""
    start = time.perf_counter()
    while (now := time.perf_counter()) < until:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        outcome.memory.append((now - start, pages * _PAGE))
        await asyncio.sleep(1 / _SAMPLES_A_SECOND)


async def load(process: int, url: str, seconds: float, clients: int) -> Outcome:
    """All of it: every question alone, then all clients at once."""
    async with httpx.AsyncClient(base_url=url, timeout=300, trust_env=False) as client:
        alone = [(body, (await ask(client, body))[0]) for body in questions()]
    outcome = Outcome()
    until = time.perf_counter() + seconds
    await asyncio.gather(
        watch_memory(process, until, outcome),
        *(one_client(number, url, alone, until, outcome) for number in range(clients)),
    )
    return outcome


def figures(outcome: Outcome, seconds: float, clients: int) -> dict[str, Any]:
    """The outcome in numbers."""
    third = max(1, len(outcome.memory) // 3)
    bytes_ = [size for _, size in outcome.memory]
    before, after = max(bytes_[:third]), max(bytes_[-third:])
    return {
        "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "clients": clients,
        "seconds": seconds,
        "asked": outcome.begun,
        "answered": len(outcome.seconds),
        "wrong_or_lost": len(outcome.wrong),
        "tokens_per_second": round(outcome.tokens / seconds, 1),
        "answer_seconds_median": _quantile(outcome.seconds, 0.5),
        "answer_seconds_95": _quantile(outcome.seconds, 0.95),
        "first_piece_seconds_median": _quantile(outcome.first, 0.5),
        "first_piece_seconds_95": _quantile(outcome.first, 0.95),
        "memory_mib_first_third": round(before / 2**20),
        "memory_mib_last_third": round(after / 2**20),
        "memory_flat": after <= GROWTH * before,
    }


def draw(outcome: Outcome, target: Path) -> None:
    """Draw how long answers took, and the memory over the time."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, values in (("whole answer", outcome.seconds), ("first piece", outcome.first)):
        ordered = sorted(values)
        shares = [100 * (place + 1) / len(ordered) for place in range(len(ordered))]
        left.plot(ordered, shares, label=name)
    left.set(xlabel="seconds from the question", ylabel="% of answers", xlim=0, ylim=(0, 100))
    left.legend(loc="lower right")
    right.plot([at for at, _ in outcome.memory], [size / 2**20 for _, size in outcome.memory])
    right.set(xlabel="seconds", ylabel="memory of the server in MiB", xlim=0, ylim=0)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, dpi=110)


def _quantile(values: list[float], share: float) -> float | None:
    if len(values) < 2:
        return None
    return round(statistics.quantiles(values, n=100)[round(share * 100) - 1], 3)


def main() -> int:
    """Runs the test; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--out", type=Path, help="where the figures go, without an ending")
    given = parser.parse_args()
    with served("--no-page", "--queue", "256") as child:
        pid, url = child.process.pid, child.url
        outcome = asyncio.run(load(pid, url, given.seconds, given.clients))
    found = figures(outcome, given.seconds, given.clients)
    lines = [f"| {name.replace('_', ' ')} | {value} |" for name, value in found.items()]
    table = "\n".join(
        ["# Load test of `vl2 serve`, nano", "", "| what | |", "|---|---|", *lines, ""]
    )
    if given.out is not None:
        given.out.with_suffix(".json").write_text(json.dumps(found, indent=2) + "\n")
        given.out.with_suffix(".md").write_text(table)
        draw(outcome, given.out.with_suffix(".png"))
    sys.stdout.write(table + "\n".join(outcome.wrong[:20]) + "\n")
    lost = outcome.begun - len(outcome.seconds)
    return int(bool(lost or outcome.wrong) or not found["memory_flat"] or not outcome.seconds)


if __name__ == "__main__":
    sys.exit(main())
