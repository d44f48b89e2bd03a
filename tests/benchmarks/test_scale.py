"""The scripts of `docs/guide/scale.md`: what they compute is what the page says."""

import importlib.util
import json
import sys

import pytest


def script(repository, name):
    spec = importlib.util.spec_from_file_location(name, repository / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def plan(repository):
    return script(repository, "scale_plan")


def test_days_and_machines_by_arithmetic(plan):
    # 86400 seconds a day: at 100 pages a second 8.64 million.
    row = plan.table([("x", 100.0)], 10_000_000).splitlines()[-1]
    assert row == "| x | 100.00 | 1.2 | 2 | 1 | 1 |"
    row = plan.table([("x", 1.0)], 10_000_000).splitlines()[-1]
    assert row == "| x | 1.00 | 115.7 | 116 | 17 | 4 |"


def test_the_page_says_what_the_script_computes(plan, repository, monkeypatch, capsys):
    (result,) = sorted((repository / "benchmarks" / "results").glob("scale_*.json"))
    monkeypatch.setattr(sys, "argv", ["scale_plan.py", str(result)])
    assert plan.main() == 0
    printed = capsys.readouterr().out
    page = (repository / "docs" / "guide" / "scale.md").read_text(encoding="utf-8")
    for paragraph in printed.strip().split("\n\n"):
        assert paragraph in page


def test_a_speed_of_ones_own(plan, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["scale_plan.py", "--speed", "10", "--pages", "8640000"])
    assert plan.main() == 0
    assert "| your worker | 10.00 | 10.0 | 10 | 2 | 1 |" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["scale_plan.py"])
    with pytest.raises(SystemExit):
        plan.main()


def test_steady_speed_leaves_out_what_is_begun_together(repository):
    scale = script(repository, "scale")
    # Four at once at 10 s, then one each half second.
    assert scale.steady([10.0] * 4 + [10.5, 11.0, 11.5, 12.0], 4) == pytest.approx(2.0)


def test_one_round_is_measured_and_kept(repository, nano, tmp_path, monkeypatch, capsys):
    scale = script(repository, "scale")
    monkeypatch.setattr(scale, "TOKENS", 2)
    monkeypatch.setattr(scale, "PARALLEL", 1)
    monkeypatch.setattr(scale, "WAYS", scale.WAYS[:1] + scale.WAYS[-1:])
    out = tmp_path / "x.json"
    words = ["--pages", "3", "--rounds", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["scale.py", *words])
    assert scale.main() == 0
    kept = json.loads(out.read_text())
    (way,) = kept["ways"]  # no cluster was named
    assert 0 < way["whole"] < way["steady"]
    assert way["bytes"] > 500
    assert "one process, 1 thread" in capsys.readouterr().out
