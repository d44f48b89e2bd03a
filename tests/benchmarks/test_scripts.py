"""The scripts under `benchmarks/` run."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys

import pytest
from quantised import compiled_or_none

from vl2.evals.speed.machine import Machine
from vl2.model.released import released_config


def script(repository, name):
    spec = importlib.util.spec_from_file_location(name, repository / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_quality_of_quantised_weights(repository, nano, tmp_path, monkeypatch, capsys):
    quality = script(repository, "quantization_quality")
    monkeypatch.setattr(quality, "EVALUATED", quality.EVALUATED[:1])
    monkeypatch.setattr(quality, "CALIBRATION", 1)
    words = ["--count", "1", "--quick", "--out", str(tmp_path / "result.json")]
    monkeypatch.setattr(sys, "argv", ["quantization_quality.py", *words])
    quality.main()
    record = json.loads((tmp_path / "result.json").read_text())
    assert [row["plan"] for row in record["plans"]] == ["int8", "int4", "int4, calibrated"]
    assert record["plans"][0]["mean"] < record["plans"][1]["mean"]
    assert capsys.readouterr().out.count("KL mean") == 3


def test_kernels(repository, monkeypatch, capsys):
    kernels = script(repository, "kernel_speed")
    loaded = compiled_or_none()
    if loaded is None:
        pytest.skip("the kernels cannot be compiled here")
    monkeypatch.setattr(kernels, "library", lambda: loaded)
    monkeypatch.setattr(kernels, "POOL_BYTES", 2**20)
    monkeypatch.setattr(kernels, "WIDTH", 64)
    monkeypatch.setattr(kernels, "INNER", 32)
    words = ["--seconds", "0.001", "--tokens", "1", "9"]
    monkeypatch.setattr(sys, "argv", ["kernel_speed.py", *words])
    assert kernels.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) % 8 == 0
    assert lines[0].startswith("linear")
    monkeypatch.setattr(kernels, "library", lambda: None)
    assert kernels.main() == 1


def test_vision(repository, tmp_path, monkeypatch, capsys):
    """The three encoders, small, give the same tokens; each round counts each of them once."""
    vision = script(repository, "vision")
    usual = vision._config

    def config(layers):
        made = usual(layers)
        tower = made.vision_config
        tower.width, tower.heads, tower.mlp_ratio, tower.image_size = 64, 4, 2.0, 56
        made.projector_config.input_dim, made.projector_config.n_embed = 64, 32
        made.language_config.hidden_size = 32
        return made

    monkeypatch.setattr(vision, "_config", config)
    monkeypatch.setattr(vision, "measure_machine", lambda device: Machine(1, 1.0, {"int8": 1.0}))
    result = tmp_path / "result.json"
    words = ["--layers", "2", "--tiles", "2", "--rounds", "2", "--out", str(result)]
    monkeypatch.setattr(sys, "argv", ["vision.py", *words])
    assert vision.main() == 0
    record = json.loads(result.read_text())
    assert {len(taken) for taken in record["rounds"].values()} == {2}
    rows = record["encoders"]
    assert rows[vision.PEER]["share_of_peer"] == 1
    assert min(row["cosine_to_peer"] for row in rows.values()) > 0.99
    assert capsys.readouterr().out.count("s a tile") == 3
    assert list(rows) == [vision.PEER, vision.PLAIN, vision.QUANTISED]


REPORT = {
    "prefill": {"per_second": 2.0},
    "decode": {"per_second": 3.0, "share": 0.5},
    "tile": {"seconds": 1.0},
    "page": {"seconds": 4.0},
}


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="no wait4 here")
@pytest.mark.parametrize("shape", ["tiny:int8", "tiny:int8:32", "tiny:int16"])
def test_reach(shape, repository, tmp_path):
    """With a stand-in for the package, which takes 64 MB and prints a report."""
    code = int("int16" in shape)
    (tmp_path / "vl2").mkdir()
    stand_in = f"""
import json, sys
held = bytearray(2**26)
assert "int16" not in sys.argv
assert ("--group-size" in sys.argv) == {shape.endswith(":32")}
print(json.dumps({REPORT!r}))
"""
    (tmp_path / "vl2" / "__init__.py").touch()  # or the installed package would come first
    (tmp_path / "vl2" / "__main__.py").write_text(stand_in)
    result = tmp_path / "result.json"
    words = [str(repository / "benchmarks" / "reach.py"), "--shapes", shape, "--out", str(result)]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    (told,) = json.loads(result.read_text())["shapes"]
    assert 2**26 < told["peak_bytes"] < 2**28
    assert told["holds"] == (code == 0)
    assert ("50 % of the memory's ceiling" in done.stdout) == (code == 0)


PEER = """
import sys
sys.path.insert(0, {peers!r})
from protocol import Done, serve
print("noise of a library")
def prepare(options):
    print("more noise")
    speed = 2.0 if options.variant == "fast" else 1.0
    return {{"name": options.variant}}, {{"prefill": lambda: Done(speed, options.prompt)}}
serve(prepare)
"""


def test_peers_take_turns(repository, tmp_path, monkeypatch, capsys):
    against = script(repository, "against_peers")
    (tmp_path / "toy.py").write_text(PEER.format(peers=str(repository / "benchmarks" / "peers")))
    monkeypatch.setattr(against, "PEERS", tmp_path)
    out = tmp_path / "result.json"
    words = ["--peers", "toy:fast", "toy:slow", "--rounds", "2", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["against_peers.py", *words, "--work", str(tmp_path / "work")])
    assert against.main() == 0
    first, second = json.loads(out.read_text())["peers"]
    assert (first["medians"], second["medians"]) == ({"prefill": 300.0}, {"prefill": 600.0})
    assert len(first["rates"]["prefill"]) == 2
    assert "decode" in first["errors"]
    assert out.with_suffix(".png").stat().st_size > 5000
    assert "toy:slow 2.00 x toy:fast" in capsys.readouterr().out


def test_growth(repository, tmp_path, monkeypatch, capsys):
    growth = script(repository, "growth")
    config = released_config("tiny")
    language = config.language_config
    language.hidden_size, language.intermediate_size = 64, 96
    language.moe_intermediate_size, language.num_hidden_layers = 32, 2
    language.num_attention_heads = language.num_key_value_heads = 2
    language.n_routed_experts, language.vocab_size = 4, 8192
    language.num_experts_per_tok = 2
    config.vision_config.width, config.vision_config.layers, config.vision_config.heads = 32, 1, 2
    config.projector_config.input_dim, config.projector_config.n_embed = 32, 64
    monkeypatch.setattr(growth, "released_config", lambda name: config)
    out = tmp_path / "growth.json"
    words = ["--quantize", "int8", "--contexts", "20", "40", "--requests", "1", "2"]
    words += ["--tokens", "20", "--answer", "3", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["growth.py", *words])
    growth.main()
    record = json.loads(out.read_text())
    assert [point["context"] for point in record["contexts"]] == [20, 40]
    one, two = (point["page_bytes"] for point in record["requests"])
    assert two == 2 * one
    assert out.with_suffix(".png").stat().st_size > 5000
    assert "ms a token" in capsys.readouterr().out


def test_engine(repository, tmp_path, monkeypatch, capsys):
    engine = script(repository, "engine")
    out = tmp_path / "result.json"
    words = ["--at-once", "2", "--tokens", "3", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["engine.py", *words])
    engine.main()
    record = json.loads(out.read_text())
    assert [rate["at_once"] for rate in record["steps"]] == [1, 2]
    assert all(rate["model"] < rate["step"] for rate in record["steps"])
    assert len(record["first_tokens"]) == 2
    assert "2 at once" in capsys.readouterr().out


def test_the_card_of_nano_says_what_was_measured(repository, tmp_path, monkeypatch, capsys):
    report = script(repository, "nano_report")
    for log in (repository / "docs" / "nano").glob("*.jsonl"):
        shutil.copy(log, tmp_path)
    monkeypatch.setattr(report, "DRAWN", tmp_path)
    monkeypatch.setattr(sys, "argv", ["nano_report.py"])
    report.main()
    assert {file.name for file in tmp_path.glob("*.png")} == {
        file.name for file in (repository / "docs" / "nano").glob("*.png")
    }
    card = (repository / "src" / "vl2" / "assets" / "nano" / "README.md").read_text("utf-8")
    for line in capsys.readouterr().out.splitlines():
        assert line in card
