import json

import pytest
import torch

from vl2.cli import main
from vl2.evals.synth import TaskScore, evaluate
from vl2.synth import vocabulary
from vl2.synth.answers import COORDINATES
from vl2.synth.evaluation import heldout
from vl2.train.run import fresh_processor


class Oracle:
    """Stands for a model: says the right answer to the first questions, then something else."""

    device = torch.device("cpu")

    def __init__(self, processor, task, count, right):
        self._tokenizer = processor.tokenizer
        answers = [turn.answer for _, turn in heldout(task, count)]
        self.tiles = []
        self._replies = [answer if index < right else "zzz" for index, answer in enumerate(answers)]

    def generate(self, input_ids, pixel_values=None, **_):
        self.tiles.append(0 if pixel_values is None else len(pixel_values))
        eos = self._tokenizer.eos_token_id
        replies = [self._replies.pop(0) for _ in range(len(input_ids))]
        rows = [[*self._tokenizer.encode(reply), eos, 7, eos] for reply in replies]
        length = max(map(len, rows))
        padded = [row + [eos] * (length - len(row)) for row in rows]
        return torch.cat((input_ids, torch.tensor(padded)), dim=1)


@pytest.fixture(scope="module")
def processor():
    return fresh_processor(vocabulary(), COORDINATES)


@pytest.mark.parametrize(
    "task",
    [
        *("word", "locate_one", "counting", "locate_absent"),
        *("table_markdown", "chart_value", "in_context", "story", "text_only"),
    ],
)
def test_right_answers_are_counted_and_misses_kept(processor, task):
    told = []
    oracle = Oracle(processor, task, count=5, right=3)
    score = evaluate(oracle, processor, task, 5, batch_size=2, progress=told.append)
    assert (score.right, score.asked) == (3, 5)
    assert [miss.reply for miss in score.misses] == ["zzz", "zzz"]
    assert told == [2, 2, 1]


def test_wrong_characters_are_counted_where_print_is_read(processor):
    wanted = "".join(turn.answer for _, turn in heldout("paragraph", 2))
    right = evaluate(Oracle(processor, "paragraph", count=2, right=2), processor, "paragraph", 2)
    assert (right.right, right.character_error) == (2, 0.0)
    wrong = evaluate(Oracle(processor, "paragraph", count=2, right=0), processor, "paragraph", 2)
    assert wrong.right == 0
    assert 1 - 6 / len(wanted) <= wrong.character_error <= 1
    other = evaluate(Oracle(processor, "counting", count=2, right=2), processor, "counting", 2)
    assert other.character_error is None


def test_pictures_can_be_shown_in_fewer_tiles(processor):
    oracle = Oracle(processor, "small_text", count=3, right=3)
    evaluate(oracle, processor, "small_text", 3)
    assert oracle.tiles == [3 * 5]
    oracle = Oracle(processor, "small_text", count=3, right=3)
    evaluate(oracle, processor, "small_text", 3, max_tiles=1)
    assert oracle.tiles == [3 * 2]


def test_interval_is_wilsons():
    low, high = TaskScore("word", 8, 10).interval
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert TaskScore("word", 10, 10).interval[1] == pytest.approx(1.0)
    assert TaskScore("word", 0, 10).interval[0] == pytest.approx(0.0)


def test_an_unknown_evaluation_and_task_are_told(capsys):
    assert main(["eval", "sinth"]) == 2
    assert "Did you mean 'synth'? Use synth" in capsys.readouterr().err
    assert main(["eval", "synth", "--only", "reading"]) == 2
    assert "There is no task 'reading'" in capsys.readouterr().err


def scores_file(folder, **changes):
    score = TaskScore("word", 1, 2).as_dict()
    asked = {"model": "nano", "count": 2, "dtype": "auto", "max_tiles": None}
    record = {**asked, "date": "2026-11-22", "scores": {"word": score}}
    path = folder / "scores.json"
    path.write_text(json.dumps({**record, **changes}), encoding="utf-8")
    return path


def test_what_was_measured_is_not_measured_again(tmp_path, capsys):
    path = scores_file(tmp_path)
    assert main(["eval", "synth", "--count", "2", "--only", "word", "--out", str(path)]) == 0
    assert "50.0 %" in capsys.readouterr().out
    assert path.with_suffix(".png").stat().st_size > 1000


def test_scores_of_another_measurement_are_not_mixed(tmp_path, capsys):
    path = scores_file(tmp_path, model="tiny")
    assert main(["eval", "synth", "--count", "2", "--out", str(path)]) == 2
    assert "holds scores of tiny" in capsys.readouterr().err
    path.write_text("[", encoding="utf-8")
    assert main(["eval", "synth", "--out", str(path)]) == 2
    assert "not a file of scores" in capsys.readouterr().err
