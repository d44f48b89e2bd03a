r"""Us and others over the same shape with random weights, in turns, on one machine.

    OMP_NUM_THREADS=2 python benchmarks/against_peers.py --shape tiny \
        --peers ours:int4 ours:int8 llama:Q4_0 llama:Q8_0 \
        --python llama=VENV/bin/python --out benchmarks/results/peers_tiny_NAME_DATE.json

A peer is a program in `benchmarks/peers` (its README says how to write one) and a variant. All of
them are set up first; then they work one after the other, round by round, so that what the machine
does to one it does to all. The medians over the rounds are printed and drawn, with the ratio of
each peer to the first that is ours. Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

PEERS = Path(__file__).parent / "peers"
UNITS = {"prefill": "tokens/s", "decode": "tokens/s", "tile": "tiles/s"}


class Peer:
    """A peer at work in a process of its own."""

    def __init__(self, spec: str, options: argparse.Namespace) -> None:
        self.spec = spec
        script, _, variant = spec.partition(":")
        pythons = dict(entry.split("=", 1) for entry in options.python)
        words = [pythons.get(script, sys.executable), str(PEERS / f"{script}.py")]
        words += ["--shape", options.shape, "--prompt", str(options.prompt)]
        words += ["--answer", str(options.answer), "--work", str(options.work)]
        words += ["--variant", variant] if variant else []
        words += ["--experts", str(options.experts)] if options.experts else []
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True)
        self.rates: dict[str, list[float]] = {}
        self.errors: dict[str, str] = {}
        self.about: dict[str, object] = self._reply().get("ready", {"name": spec})

    def do(self, word: str) -> None:
        """Let it do one piece of work."""
        if word in self.errors:
            return
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(word + "\n")
            stdin.flush()
        except BrokenPipeError:
            self.errors[word] = "it has ended"
            return
        reply = self._reply()
        if "error" in reply:
            self.errors[word] = reply["error"]
        else:
            self.rates.setdefault(word, []).append(reply["pieces"] / reply["seconds"])

    def end(self) -> None:
        """Let it go; what memory it took at the most is kept."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        _, status, used = os.wait4(self._process.pid, 0)
        self._process.stdout.close()
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self.about["peak_bytes"] = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    def _reply(self) -> dict:
        assert self._process.stdout is not None
        # Libraries may print while they are imported.
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        return {"error": f"{self.spec} ended without an answer"}

    def as_dict(self) -> dict[str, object]:
        """What it is and did."""
        medians = {word: statistics.median(rates) for word, rates in self.rates.items()}
        return {
            "peer": self.spec,
            **self.about,
            "medians": medians,
            "rates": self.rates,
            "errors": self.errors,
        }


def main() -> int:
    """Runs the peers in turns; returns 1 if one of them could do nothing."""
    options = _options()
    if options.apart:
        peers = [peer for spec in options.peers for peer in _run([spec], options)]
    else:
        peers = _run(options.peers, options)
    record = _record(peers, options)
    for line in _lines(record):
        _tell(line)
    if options.out:
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        draw(record, options.out.with_suffix(".png"))
    return int(any(not peer.rates for peer in peers))


def _run(specs: list[str], options: argparse.Namespace) -> list[Peer]:
    """Sets peers up, lets them work in turns, and ends them."""
    peers = []
    for spec in specs:
        peers.append(Peer(spec, options))
        _tell(f"ready: {peers[-1].about['name']}")
    _round(peers, options.work_on)  # warm
    for peer in peers:
        peer.rates.clear()
    while options.wait_for is not None and not options.wait_for.exists():
        time.sleep(0.2)
    ends = time.monotonic() + options.seconds
    for _ in range(options.rounds):
        _round(peers, options.work_on)
        if time.monotonic() > ends:
            break
    for peer in peers:
        peer.end()
    return peers


def _round(peers: list[Peer], words: list[str]) -> None:
    for word in words:
        for peer in peers:
            peer.do(word)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", default="tiny", choices=("tiny", "small", "base"))
    parser.add_argument("--peers", nargs="+", default=["ours:bfloat16", "ours:int8", "ours:int4"])
    parser.add_argument(
        "--python", nargs="+", default=[], metavar="SCRIPT=PYTHON", help="what runs a peer"
    )
    parser.add_argument("--work-on", nargs="+", default=["prefill", "decode"], choices=UNITS)
    parser.add_argument("--prompt", type=int, default=600)
    parser.add_argument("--answer", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--experts",
        type=int,
        help="so many routed experts a layer, where memory is short: a token reads as many as ever",
    )
    parser.add_argument(
        "--apart", action="store_true", help="one after the other, where memory is short"
    )
    parser.add_argument(
        "--wait-for", type=Path, help="a file whose appearance says that the machine is quiet now"
    )
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no round after these")
    parser.add_argument("--work", type=Path, default=Path("peers-work"), help="files of the peers")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _record(peers: list[Peer], options: argparse.Namespace) -> dict:
    return {
        "date": dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "processors": os.cpu_count(),
            "threads": os.environ.get("OMP_NUM_THREADS"),
        },
        "shape": options.shape,
        "experts": options.experts,
        "in_turns": not options.apart,
        "prompt": options.prompt,
        "answer": options.answer,
        "peers": [peer.as_dict() for peer in peers],
    }


def _processor() -> str:
    """The processor with the instruction sets that matter here."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    found = dict(line.split("\t", 1) for line in lines if "\t" in line)
    flags = found.get("flags", "").split()
    wanted = ("avx2", "avx512_vnni", "avx512_bf16", "amx_tile")
    return " ".join([found.get("model name", "").strip(": \t"), *(f for f in wanted if f in flags)])


def _lines(record: dict) -> list[str]:
    lines = []
    ours = next((p for p in record["peers"] if p["peer"].startswith("ours")), record["peers"][0])
    words = sorted({word for peer in record["peers"] for word in peer["medians"]})
    for word in words:
        lines.append(f"{word}, {UNITS[word]}:")
        for peer in record["peers"]:
            rate = peer["medians"].get(word)
            if rate is None:
                lines.append(f"  {peer['name']}: {peer['errors'].get(word, 'nothing')}")
                continue
            spread = f"{min(peer['rates'][word]):.3g} to {max(peer['rates'][word]):.3g}"
            base = ours["medians"].get(word)
            ratio = f", {peer['peer']} {rate / base:.2f} x {ours['peer']}" if base else ""
            lines.append(f"  {peer['name']}: {rate:.3g} ({spread}){ratio}")
    return lines


def draw(record: dict, path: Path) -> None:
    """A bar for each peer and kind of work; a thin line from the slowest to the fastest round."""
    from matplotlib import pyplot as plt

    words = [w for w in UNITS if any(w in peer["medians"] for peer in record["peers"])]
    height = 1.2 + 0.42 * len(record["peers"])
    figure, axes = plt.subplots(1, len(words), figsize=(5.6 * len(words), height), squeeze=False)
    for axis, word in zip(axes[0], words, strict=True):
        shown = [peer for peer in record["peers"] if word in peer["medians"]]
        for place, peer in enumerate(reversed(shown)):
            rates, middle = peer["rates"][word], peer["medians"][word]
            colour = "#c2410c" if peer["peer"].startswith("ours") else "#94a3b8"
            axis.barh(place, middle, color=colour)
            axis.plot([min(rates), max(rates)], [place, place], color="black", linewidth=1)
            axis.text(max(rates), place, f"  {middle:.3g}", va="center", fontsize=9)
        names = [peer["peer"].replace("ours", "vl2").replace(":", " ") for peer in reversed(shown)]
        axis.set_yticks(range(len(shown)), names)
        axis.set_title(f"{word}, {UNITS[word]}", fontsize=10)
        axis.margins(x=0.15)
        axis.spines[["top", "right"]].set_visible(False)
    threads = record["machine"]["threads"]
    some = f" with {record['experts']} experts a layer" if record["experts"] else ""
    figure.suptitle(
        f"shape of {record['shape']}{some}, prompt of {record['prompt']} tokens, "
        f"{threads} threads, {record['date']}",
        fontsize=10,
    )
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
