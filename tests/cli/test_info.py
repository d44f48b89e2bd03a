"""`vl2 info`: the numbers, as a drawing and as JSON."""

import json

import pytest

from vl2.cli import main
from vl2.cli.info import byte_size, figures, operations, short_count


def info(capsys, *arguments):
    code = main(["info", *arguments])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert printed.err == ""
    return printed.out


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [("tiny", "3.37 B", "0.995 B"), ("small", "16.1 B", "2.88 B"), ("base", "27.5 B", "4.56 B")],
)
def test_released_models_need_no_weights(name, total, active, capsys):
    text = info(capsys, name)
    assert f"{total}, {active} of them active" in text
    assert "routed experts" in text
    assert "░░░░" in text


def test_json_has_the_same_numbers_unrounded(capsys):
    report = json.loads(info(capsys, "small", "--json"))
    assert report["model"] == "small"
    assert report["parameters"]["total"] == sum(p["total"] for p in report["parameters"]["parts"])
    assert report["memory"]["bfloat16"]["weights"] == 2 * report["parameters"]["total"]
    assert report["memory"]["float32"]["weights"] == 4 * report["parameters"]["total"]
    assert report["memory"]["bfloat16"]["cache_per_token"] == 27 * 576 * 2
    assert report["memory"]["bfloat16"]["cache_full_context"] == 27 * 576 * 2 * 4096


def test_tokens_of_pictures_are_those_of_the_paper(capsys):
    """One tile takes 210 + 1 + 210 tokens; 3 x 3 tiles 210 + 1 + 42 * 43."""
    pictures = {p["name"]: p for p in json.loads(info(capsys, "tiny", "--json"))["pictures"]}
    assert pictures["one tile"]["tokens"] == 421
    page = pictures["A4 page at 150 dpi"]
    assert (page["columns"], page["rows"], page["tiles"], page["tokens"]) == (3, 3, 10, 2017)
    assert {p["tokens_untiled"] for p in pictures.values()} == {421}


def test_a_folder(golden, capsys):
    text = info(capsys, str(golden / "checkpoints" / "base"))
    assert "sigmoid with correction bias" in text


def test_the_embedded_model_is_told_in_millions(nano, capsys):
    report = json.loads(info(capsys, "nano", "--json"))
    assert 1e6 < report["parameters"]["total"] < 2e7
    assert " M of them active" in info(capsys, "nano")


@pytest.mark.parametrize(
    ("name", "said"),
    [("gigantic", "gigantic"), ("EMPTY", "config.json"), ("FILE", "folder")],
)
def test_what_is_not_a_model_is_one_sentence(name, said, tmp_path, capsys):
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "FILE").write_text("{}")
    model = str(tmp_path / name) if name.isupper() else name
    assert main(["info", model]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (figures(3_373_000_000, "B"), "3.37 B"),
        (figures(574_000_000, "B"), "0.574 B"),
        (figures(27_460_000_000, "B"), "27.5 B"),
        (figures(5_212_000, "M"), "5.21 M"),
        (short_count(0), "0"),
        (short_count(999), "999"),
        (short_count(412_600_000), "413 M"),
        (short_count(999_600), "1.00 M"),
        (byte_size(6_740_000_000), "6.74 GB"),
        (byte_size(31_104), "31.1 kB"),
        (operations(1_148_000_000), "1.15 GFLOP"),
    ],
)
def test_numbers_have_three_figures(text, expected):
    assert text == expected


def test_memory_plans(capsys):
    assert main(["info", "small", "--memory", "--json"]) == 0
    plans = json.loads(capsys.readouterr().out)["plans"]
    assert list(plans) == ["float32", "bfloat16", "int8", "int4", "int4/64"]
    for plan in plans.values():
        parts = [plan[part] for part in ("weights", "runtime", "working", "pictures", "cache")]
        assert plan["total"] == sum(parts)
        assert plan["weights"] < plan["least"] < plan["total"]
    assert plans["int4/64"]["weights"] < plans["int4"]["weights"]
    assert plans["int4"]["weights"] < plans["int8"]["weights"] < plans["bfloat16"]["weights"]
    assert main(["info", "nano", "--memory"]) == 0
    out = capsys.readouterr().out
    assert "Memory of nano" in out
    assert "int4" in out


def test_memory_plans_fit_into_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = info(capsys, "small", "--memory").splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    legend = lines[max(i for i, line in enumerate(lines) if not line) + 1 :]
    assert legend[0].startswith("runtime: Python and torch")
    assert len(legend[0]) > 70, "text takes the terminal's width, not the table's"
    assert all(line == line.rstrip() for line in lines)


def test_a_quantised_folder_tells_its_scheme_and_its_bytes(golden, tmp_path, capsys):
    source = golden / "checkpoints" / "base"
    target = tmp_path / "small"
    assert main(["quantize", str(source), str(target), "--scheme", "int8"]) == 0
    capsys.readouterr()
    plain, report = (json.loads(info(capsys, str(m), "--json")) for m in (source, target))
    assert plain["quantization"] is None
    assert report["quantization"]["scheme"] == "int8"
    stored = sum(file.stat().st_size for file in target.glob("*.safetensors"))
    told = report["memory"]["bfloat16"]["weights"]
    assert told < plain["memory"]["bfloat16"]["weights"]
    assert abs(told - stored) < 0.15 * stored
    assert "int8; bits: experts 8" in info(capsys, str(target))


@pytest.mark.parametrize("option", ["--json", "--memory"])
def test_a_folder_that_others_quantised_is_told(golden, tmp_path, capsys, option):
    config = json.loads((golden / "checkpoints" / "base" / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert main(["info", str(tmp_path), option]) == 2
    assert "bitsandbytes', 'load_in_4bit': True} is not of vl2's making" in capsys.readouterr().err


def test_the_report_has_no_blanks_at_the_ends_of_lines(capsys):
    text = info(capsys, "tiny")
    assert not any(line != line.rstrip() for line in text.splitlines())
    assert "\n\nTokens of a picture\n" in text
