"""How a peer talks with `against_peers.py`: words in, one line of JSON out for each.

Only the standard library: peers run in environments of their own. `README.md` has the rules.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What a peer is asked to set up.

    Attributes:
        shape: `tiny`, `small` or `base`.
        variant: precision or quantisation, in the peer's own words.
        prompt: tokens of the prompt.
        answer: tokens that are generated after it.
        work: folder for files that are worth keeping between runs.
        threads: threads to compute with.
        experts: routed experts of a layer, where memory is too short for those of the shape.
    """

    shape: str
    variant: str
    prompt: int
    answer: int
    work: Path
    threads: int
    experts: int | None = None


@dataclass(frozen=True)
class Done:
    """One piece of work: how long it took, and how many tokens or tiles it was."""

    seconds: float
    pieces: int = 1


Work = Mapping[str, Callable[[], Done]]


def serve(prepare: Callable[[Options], tuple[dict[str, object], Work]]) -> None:
    """Sets a peer up and does what is asked until the input ends."""
    options = _options()
    # The libraries of some peers print; only our lines may reach the one who asks.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    about, work = prepare(options)
    replies.write(json.dumps({"ready": about}) + "\n")
    for line in sys.stdin:
        replies.write(json.dumps(_answer(line.strip(), work)) + "\n")


def _answer(word: str, work: Work) -> dict[str, object]:
    if word not in work:
        return {"error": f"this peer has no {word!r}"}
    done = work[word]()
    return {"seconds": done.seconds, "pieces": done.pieces}


def _options() -> Options:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", default="tiny", choices=("tiny", "small", "base"))
    parser.add_argument("--variant", default="bfloat16")
    parser.add_argument("--prompt", type=int, default=600)
    parser.add_argument("--answer", type=int, default=64)
    parser.add_argument("--work", type=Path, default=Path("peers-work"))
    parser.add_argument("--experts", type=int)
    given = parser.parse_args()
    threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    given.work.mkdir(parents=True, exist_ok=True)
    return Options(**vars(given), threads=threads)
