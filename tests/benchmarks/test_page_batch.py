"""The script that lets engines read pages in turns; the one of vLLM is in its own environment."""

import importlib.util
import sys


def test_engines_read_in_turns(repository, nano, monkeypatch, capsys):
    place = repository / "benchmarks" / "page_batch.py"
    spec = importlib.util.spec_from_file_location("page_batch", place)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "ENGINES", {"ours": script.ours})
    monkeypatch.setattr(sys, "argv", ["page_batch.py", "--rounds", "1", "--tokens", "2"])
    monkeypatch.setenv("PYTHONPATH", str(repository / "src"))
    script.main()
    printed = capsys.readouterr().out
    assert "texts equal in 2 of 2" in printed
    assert "pages/s" in printed
    assert script.batch(1) == script.batch(1) != script.batch(2)
