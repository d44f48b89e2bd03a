"""Scripts in the manner of the original's, run as they are; answers equal the goldens."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from golden import VARIANTS, checkpoint, load_case

from vl2.dropin.__main__ import main
from vl2.dropin.processing import DeepseekVLV2Processor

SCRIPTS = Path(__file__).parent / "scripts"
everywhere = pytest.mark.parametrize("variant", VARIANTS)
pytestmark = pytest.mark.filterwarnings("ignore::vl2.dropin.modeling.NoGpuWarning")


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Runs a script by its name; gives what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run_script(name, *arguments):
        assert main([str(SCRIPTS / name), *map(str, arguments)]) == 0
        return capsys.readouterr().out

    return run_script


def expected(variant, name):
    """What the script prints: the conversation and the golden answer."""
    case = load_case(variant, name)
    tokenizer = DeepseekVLV2Processor.from_pretrained(checkpoint(variant)).tokenizer
    answer = tokenizer.decode(case.tensors["greedy_tokens"].tolist(), skip_special_tokens=False)
    return f"{case.info['sft_format']} {answer}\n"


def question(variant, name):
    message = load_case(variant, name).messages[0]
    return message["content"], message["images"]


@everywhere
@pytest.mark.parametrize("name", ["grounding", "three_images"])
def test_the_readmes_first_two_examples(run, variant, name):
    content, pictures = question(variant, name)
    printed = run("one_picture.py", checkpoint(variant), "float32", content, *pictures)
    assert printed == expected(variant, name)


@everywhere
def test_the_model_cards_example(run, variant):
    content, pictures = question(variant, "two_images")
    content = content.replace("<image>", "<image_placeholder>")
    printed = run("model_card.py", checkpoint(variant), "float32", content, *pictures)
    assert printed == expected(variant, "two_images")


@everywhere
@pytest.mark.parametrize(
    ("name", "chunk_size"), [("vqa_one_image", 512), ("three_images", -1), ("three_images", 100)]
)
def test_inference_with_and_without_chunks(run, variant, name, chunk_size):
    content, pictures = question(variant, name)
    options = ["--model_path", checkpoint(variant), "--chunk_size", chunk_size]
    printed = run("inference.py", *options, "--dtype", "float32", "--content", content, *pictures)
    assert printed == expected(variant, name)


def test_as_a_program_of_its_own(tmp_path):
    content, pictures = question("tiny", "vqa_one_image")
    command = [sys.executable, "-m", "vl2.dropin", SCRIPTS / "one_picture.py", checkpoint("tiny")]
    done = subprocess.run(
        [*map(str, command), "float32", content, *pictures],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected("tiny", "vqa_one_image")


def test_arguments_that_name_no_script(capsys):
    assert main([]) == 2
    assert main(["--help"]) == 0
    assert main(["absent.py"]) == 2
    assert "There is no script 'absent.py'" in capsys.readouterr().err


def test_an_error_of_the_library_is_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", list(sys.path))
    script = tmp_path / "script.py"
    script.write_text(
        "from deepseek_vl2.utils.io import load_pil_images as l\nl([{'images': ['x']}])"
    )
    assert main([str(script)]) == 2
    assert capsys.readouterr().err.startswith("vl2: 'x' does not exist")
