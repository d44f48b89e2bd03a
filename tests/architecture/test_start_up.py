"""What a fresh interpreter loads, and how long it takes."""

import os
import statistics
import subprocess
import sys
import time

import pytest

HEAVY = ("torch", "transformers", "huggingface_hub", "matplotlib")


def loaded_after(statements):
    """Which heavy packages a fresh interpreter has loaded after some statements."""
    code = f"{statements}\nimport sys\nprint(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize(
    "statements",
    [
        "import vl2",
        "import vl2; dir(vl2)",
        "from vl2 import Conversation, Message, Text, Image, Box, VL2Error",
        "import vl2.chat, vl2.grounding, vl2.processing.tiling, vl2.processing.images",
        "from vl2.cli import main; main(['--help'])",
        "from vl2.cli import main; main(['--version'])",
        "import vl2.engine; dir(vl2.engine)",
        *(
            f"from vl2.cli import main; assert main({words}) == 2"
            for words in (
                ["ask", "nowhere.png", "What?"],
                ["ask", "What?", "--dtype", "float8"],
                ["ask", "What?", "--temperature", "0", "--seed", "-1"],
                ["locate", "nowhere.png", "the sun"],
                ["chat", "--device", "abacus"],
                ["chat", "--memory", "much"],
                ["serve", "--host", "256.256.256.256"],
            )
        ),
    ],
)
def test_torch_and_transformers_stay_out(statements):
    quiet = "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()):\n    "
    assert loaded_after(quiet + statements) == []


def test_help_is_quick():
    """Under 0.2 s of processor time; the clock tells as much only on a quiet machine."""
    command = [sys.executable, "-m", "vl2", "--help"]
    clock, processor = [], []
    for _ in range(5):
        start, before = time.perf_counter(), os.times()
        subprocess.run(command, check=True, capture_output=True)
        clock.append(time.perf_counter() - start)
        after = os.times()
        used = after.children_user - before.children_user
        processor.append(used + after.children_system - before.children_system)
    assert statistics.median(clock) < 0.8, clock
    if sys.platform != "win32":
        assert min(processor) < 0.2, processor


@pytest.mark.parametrize(
    "verb",
    [
        "ask",
        "locate",
        "chat",
        "serve",
        "synth",
        "train",
        "eval",
        "quantize",
        "bench",
        "doctor",
        "info",
    ],
)
def test_a_verbs_help_loads_no_torch(verb):
    code = (
        "import contextlib, io\nfrom vl2.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    assert main([{verb!r}, '--help']) == 0"
    )
    assert loaded_after(code) == []
