"""Which file checks which published score, and how ours stands to it."""

import pytest

from vl2.errors import InputError
from vl2.evals.benchmarks.reproduce import compared, files_to_run, targets


@pytest.fixture
def folder(tmp_path):
    for name in (
        "ChartQA_TEST.tsv",
        "DocVQA_VAL.tsv",
        "MMBench_TEST_EN.tsv",
        "MMBench_DEV_CN_V11.tsv",
        "MMMU_DEV_VAL.tsv",
        "OCRBench.json",
        "refcoco+-testA.jsonl",
        "RefCOCO_val.parquet",
        "mme.tsv",
        "notes.txt",
    ):
        (tmp_path / name).touch()
    (tmp_path / "ai2d-test").mkdir()
    (tmp_path / "ai2d-test" / "0.parquet").touch()
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_files_are_found_by_their_names(folder):
    found = {
        (aim.published.task, aim.published.split): aim.data and aim.data.name
        for aim in targets("small", folder)
    }
    assert found["chartqa", "test"] == "ChartQA_TEST.tsv"
    assert found["docvqa", "test"] == "DocVQA_VAL.tsv"
    assert found["mmbench", "en, test"] == "MMBench_TEST_EN.tsv"
    assert found["mmbench", "V1.1"] == "MMBench_DEV_CN_V11.tsv"
    assert found["mmbench", "cn, test"] is None
    assert found["mmmu", "val"] == "MMMU_DEV_VAL.tsv"
    assert found["ocrbench", ""] == "OCRBench.json"
    assert found["mme", ""] == "mme.tsv"
    assert found["ai2d", "test"] == "ai2d-test"
    assert found["refcoco", "val"] == "RefCOCO_val.parquet"
    assert found["refcoco", "testA"] is None
    assert found["refcoco+", "testA"] == "refcoco+-testA.jsonl"
    assert found["textvqa", "val"] is None


@pytest.mark.parametrize(
    ("names", "task", "split", "found"),
    [
        (["MathVista_MINI.tsv"], "mathvista", "testmini", "MathVista_MINI.tsv"),
        (["MMBench_DEV_EN.tsv", "MMBench_DEV_CN.tsv"], "mmbench", "en, test", "MMBench_DEV_EN.tsv"),
        (["MMBench_DEV_EN_V11.tsv"], "mmbench", "en, test", None),
        (
            ["MMBench_DEV_CN_V11.tsv", "MMBench_DEV_EN_V11.tsv"],
            "mmbench",
            "V1.1",
            "MMBench_DEV_EN_V11.tsv",
        ),
        (["DocVQA_VAL.tsv", "DocVQA_TEST.tsv"], "docvqa", "test", "DocVQA_TEST.tsv"),
        (["RefCOCO.tsv"], "refcocog", "test", "RefCOCO.tsv"),
        (["RefCOCO.tsv", "refcoco_val.json"], "refcoco", "val", "refcoco_val.json"),
    ],
)
def test_the_names_that_files_go_by(tmp_path, names, task, split, found):
    for name in names:
        (tmp_path / name).touch()
    (aim,) = (
        aim
        for aim in targets("base", tmp_path)
        if (aim.published.task, aim.published.split) == (task, split)
    )
    assert (aim.data and aim.data.name) == found


def test_a_file_of_all_parts(tmp_path):
    file = tmp_path / "RefCOCO.tsv"
    file.touch()
    aims = targets("base", tmp_path)
    assert list(files_to_run(aims)) == [(n, file) for n in ("refcoco", "refcoco+", "refcocog")]
    ours = {("refcoco+", file): {"score": 50.0, "RefCOCO+_testA": 95.0, "RefCOCO+ val": 5.0}}
    found = {
        aim.published.split: (score, state)
        for aim, score, state in compared(aims, ours)
        if aim.published.task == "refcoco+"
    }
    assert found == {
        "testA": (95.0, "reached"),
        "val": (5.0, "falls short"),
        "testB": (None, "no data"),
    }


def test_each_file_is_run_once(folder):
    files = list(files_to_run(targets("tiny", folder)))
    assert len(files) == len(set(files)) == 10


def test_states(folder):
    aims = targets("small", folder)
    chart, ocr = folder / "ChartQA_TEST.tsv", folder / "OCRBench.json"
    ours = {("chartqa", chart): {"score": 83.49}, ("ocrbench", ocr): {"score": 825.0}}
    states = {
        (aim.published.task, aim.published.source): (score, state)
        for aim, score, state in compared(aims, ours)
    }
    assert states["chartqa", "paper"] == (83.49, "falls short")  # 84.5 less 1
    assert states["chartqa", "VLMEvalKit #697"] == (83.49, "reached")  # 84.48 less 1
    assert states["ocrbench", "VLMEvalKit #697"] == (825, "reached")  # 835 less 10
    assert states["mme", "paper"] == (None, "no data")


def test_sizes_have_the_scores_that_are_known(folder):
    sources = {
        size: [a.published.source for a in targets(size, folder)] for size in ("tiny", "base")
    }
    assert "VLMEvalKit #697" in sources["tiny"]
    assert "VLMEvalKit #697" not in sources["base"]
    with pytest.raises(InputError, match=r"no released size 'nano'.* --size"):
        targets("nano", folder)
    with pytest.raises(InputError, match="no folder"):
        targets("tiny", folder / "absent")
