"""What each benchmark asks and how it counts, on made-up rows in the formats of the field."""

import pytest
from benchmark_files import SMALL, WIDE
from golden import picture

from vl2.errors import InputError
from vl2.evals.benchmarks.questions import Record
from vl2.evals.benchmarks.rows import Row
from vl2.evals.benchmarks.table import REPORTED, TASKS, find_task, reported

PICTURE = picture(SMALL).read_bytes()
LARGE = picture(WIDE).read_bytes()


def asked(task, pictures=(PICTURE,), number=1, **values):
    return TASKS[task].ask(Row(number, values, tuple(pictures)))


def only(task, **values):
    (question,) = asked(task, **values)
    return question


def score(task, prediction, **values):
    return TASKS[task].judge(only(task, **values), prediction).score


def records(task, *answered):
    made = []
    for question, prediction in answered:
        judged = TASKS[task].judge(question, prediction)
        made.append(
            Record(
                question.id,
                question.group,
                question.category,
                question.prompt,
                question.answers,
                prediction,
                judged.said,
                judged.score,
                question.facts,
            )
        )
    return made


def test_the_benchmarks_there_are():
    assert set(TASKS) == {
        *("docvqa", "infovqa", "chartqa", "textvqa", "ocrbench", "mathvista"),
        *("mmbench", "mmstar", "ai2d", "realworldqa", "mmmu", "mme"),
        *("refcoco", "refcoco+", "refcocog"),
    }
    assert TASKS["infovqa"].max_tiles == 18
    assert {task.max_tiles for name, task in TASKS.items() if name != "infovqa"} == {9}
    assert {entry.task for entry in REPORTED} == set(TASKS)
    assert [entry.scores[1] for entry in reported("ocrbench")] == [834, 835]
    with pytest.raises(InputError, match=r"'vqa'\. Did you mean 'docvqa'\? Use synth, documents,"):
        find_task("vqa")


@pytest.mark.parametrize("task", ["docvqa", "infovqa", "chartqa", "textvqa"])
def test_short_answers(task):
    question = only(
        task, index="4", question="<image>\nHow many?", answer="['12', '13']", split="x"
    )
    assert question.prompt == "How many?\nAnswer the question using a single word or phrase."
    assert (question.id, question.answers, question.category) == ("4", ("12", "13"), "x")


def test_scores_of_short_answers():
    assert score("docvqa", "Hallo.", question="?", answers=["hello"]) == pytest.approx(0.8)
    assert score("chartqa", "10.4.", question="?", answer="10") == 1
    assert score("chartqa", "11", question="?", label=["10", "11"]) == 1
    assert score("textvqa", "Stop!", question="?", answers=["stop"] * 10) == 1


def test_ocrbench_counts_to_a_thousand():
    a = only("ocrbench", id="1", question="Read.", answer="['ab c']", category="Doc-oriented VQA")
    b = only("ocrbench", id="2", question="Read.", answer=["x y"], dataset="HME100k")
    assert a.prompt == "Read."
    made = records("ocrbench", (a, "It says AB C."), (b, "X Y"))
    assert TASKS["ocrbench"].total(made) == {"score": 500, "Doc-oriented VQA": 100, "HME100k": 0}


OPTIONS = {"A": "red", "B": "blue", "C": "green"}
LISTED = (
    "Question: Which?\nOptions:\nA. red\nB. blue\nC. green\n"
    "Please select the correct answer from the options above. \n"
)


@pytest.mark.parametrize("task", ["mmstar", "ai2d", "realworldqa"])
def test_options_in_columns_and_in_lists(task):
    question = only(task, question="Which?", **OPTIONS, D=None, answer="B", hint=None)
    assert question.prompt == LISTED
    assert only(task, question="Which?", options=["red", "blue", "green"], answer="1").answers == (
        "B",
    )
    hinted = only(task, question="Which?", **OPTIONS, answer="B", hint="Look.")
    assert hinted.prompt == f"Hint: Look.\n{LISTED}"
    assert score(task, "B. blue", question="Which?", **OPTIONS, answer="B") == 1
    assert score(task, "A", question="Which?", **OPTIONS, answer="B") == 0


def test_options_inside_the_question():
    star = only("mmstar", question="Which?\nOptions: A: red, B: blue, C: green", answer="C")
    assert (star.prompt, dict(star.options)) == (LISTED, OPTIONS)
    text = "Is it?\nA. Yes\nB. No\nPlease answer directly with only the letter."
    world = only("realworldqa", question=text, answer="A")
    assert world.prompt == text
    assert dict(world.options) == {"A": "Yes", "B": "No"}
    assert TASKS["realworldqa"].judge(world, "A").score == 1
    number = only("realworldqa", question="How many?", answer="3")
    assert TASKS["realworldqa"].judge(number, "3.").score == 1
    assert TASKS["realworldqa"].judge(number, "4").score == 0


def test_mmbench_is_right_only_in_every_rotation():
    rows = asked("mmbench", index="5", question="Which?", **OPTIONS, answer="B", category="c")
    assert [question.id for question in rows] == ["5/0", "5/1", "5/2"]
    assert {question.group for question in rows} == {"5"}
    assert [question.answers[0] for question in rows] == ["B", "A", "C"]
    assert rows[0].prompt == LISTED
    assert rows[1].prompt.startswith("Question: Which?\nOptions:\nA. blue\nB. green\nC. red\n")
    assert asked("mmbench", index="1000005", question="Which?", **OPTIONS, answer="B") == []
    total = TASKS["mmbench"].total
    assert total(records("mmbench", *zip(rows, "BAC", strict=True)))["score"] == 100
    partly = total(records("mmbench", *zip(rows, "BAA", strict=True)))
    assert partly["score"] == 0
    assert partly["each rotation by itself"] == pytest.approx(200 / 3)


def test_mmmu_as_the_authors_asked_it():
    question = only(
        "mmmu",
        pictures=(LARGE, PICTURE),
        id="validation_Art_1",
        question="<image 2> differs from <image 1>. Why?",
        options="['red', 'blue <image 2>']",
        answer="B",
        question_type="multiple-choice",
        subfield="Drawing",
    )
    assert question.prompt == (
        "<image><image><image>\n <image 1> differs from <image 2>. Why?\n"
        "A. red\nB. blue <image 3>\n"
        "Answer with the option's letter from the given choices directly. "
        "Answer the question using a single word or phrase.\n \n"
    )
    first, second, third = question.pictures
    assert first.size == (2 * 97, 2 * 61)
    assert (second, third) == (LARGE, PICTURE)
    assert TASKS["mmmu"].judge(question, "B").score == 1
    assert TASKS["mmmu"].judge(question, "nothing").score == 0


def test_mmmu_open_questions_and_other_splits():
    question = only(
        "mmmu", question="How long?", options="[]", answer="['3.5', 'x']", question_type="open"
    )
    assert question.prompt == "<image>\n<image 1> How long?\n"
    assert TASKS["mmmu"].judge(question, "The answer is 3.50").score == 1
    assert TASKS["mmmu"].judge(question, "The answer is 4").score == 0
    assert asked("mmmu", question="?", answer="A", split="dev") == []
    odd = only("mmmu", question="See <image 9>", **OPTIONS, answer="A")
    assert odd.prompt.startswith("<image>\n<image 1> See <image 9>")


def test_mme_pairs():
    rows = [
        only(
            "mme",
            question="Is it? Please answer yes or no.",
            answer="Yes",
            category="count",
            question_id="p.jpg",
        ),
        only(
            "mme",
            number=2,
            question="Is it not?",
            answer="No.",
            category="count",
            question_id="p.jpg",
        ),
    ]
    assert rows[1].prompt == "Is it not? Please answer yes or no."
    assert rows[0].group == rows[1].group
    assert rows[0].id != rows[1].id
    scores = TASKS["mme"].total(records("mme", (rows[0], "Yes, it is"), (rows[1], "No")))
    assert scores["score"] == scores["perception"] == scores["count"] == 200
    half = TASKS["mme"].total(records("mme", (rows[0], "Yes"), (rows[1], "Perhaps")))
    assert half["score"] == 50
    nameless = [
        only("mme", question=q, answer="No", category="c", number=i) for i, q in enumerate("ab")
    ]
    assert nameless[0].group == nameless[1].group


def test_mathvista():
    question = only(
        "mathvista",
        pid="9",
        query="Hint: ...\nQuestion: How many?",
        question="How many?",
        choices=["3", "4"],
        answer="4",
        question_type="multi_choice",
        answer_type="text",
        precision=None,
    )
    assert question.prompt == "Hint: ...\nQuestion: How many?"
    free = only(
        "mathvista",
        pid="10",
        query="?",
        answer="1.5",
        question_type="free_form",
        answer_type="float",
        precision=1.0,
    )
    made = records("mathvista", (question, "(B) 4."), (free, "It is 1.5"))
    scores = TASKS["mathvista"].total(made)
    assert scores["score"] == 50
    assert scores["not read by the rules"] == 50


@pytest.mark.parametrize(
    "values",
    [
        {"sent": "the corner", "bbox": [0, 0, 48.5, 61]},
        {"expression": "the corner", "bbox": "[0, 0, 48.5, 61]"},
        {"caption": "the corner", "bbox": [0, 0, 48.5, 61], "box_format": "xywh"},
        {"answer": ["the corner"], "bbox": [0.0, 0.0, 48.5, 61.0]},
        {
            "question": "Where is <ref>the corner</ref>?",
            "bbox_x1": "0",
            "bbox_y1": "0",
            "bbox_x2": "48.5",
            "bbox_y2": "61",
        },
        {
            "question": 'Give the box of this region: "the corner".',
            "x1": 0,
            "y1": 0,
            "x2": 48.5,
            "y2": 61,
        },
        {"sentences": [{"sent": "the corner"}], "bbox": [0, 0, 48.5, 61]},
        {"question": "The region: the corner", "answer": "[0, 0, 0.5, 1.0]"},
        {"question": "The region: the corner", "answer": "The box is [0 0 48.5 61]."},
    ],
)
def test_refcoco_in_every_spelling(values):
    question = only("refcoco", **values)
    assert question.prompt == "<|ref|>the corner<|/ref|>."
    assert question.facts == {"box": [0, 0, 48.5, 61], "width": 97, "height": 61}
    judge = TASKS["refcoco"].judge
    whole = "<|det|>[[0, 0, 999, 999]]<|/det|>"
    assert judge(question, whole).score == 1  # half of the picture: just enough
    assert judge(question, whole.replace("0, 0", "9, 0")).score == 0
    assert judge(question, question.answers[0]).said.endswith("(IoU 1.00)")
    assert judge(question, "nowhere").said is None


def test_refcoco_takes_its_own_rows_of_a_file_of_all_three():
    rows = {"sent": "a", "bbox": [0, 0, 9, 9]}
    for split in ("RefCOCO+_val", "refcoco+ testA"):
        assert asked("refcoco", split=split, **rows) == asked("refcocog", split=split, **rows) == []
        (question,) = asked("refcoco+", split=split, **rows)
        assert question.category == split
    assert len(asked("refcocog", split="val", **rows)) == 1


def test_refcoco_asks_each_expression_and_tells_bad_rows():
    assert [q.prompt for q in asked("refcocog", answer=["a", "b"], bbox=[0, 0, 1, 1])] == [
        "<|ref|>a<|/ref|>.",
        "<|ref|>b<|/ref|>.",
    ]
    with pytest.raises(InputError, match="no box of four numbers"):
        asked("refcoco", sent="a", bbox=[1, 2])
    with pytest.raises(InputError, match="no expression that refers to it: join them"):
        asked("refcoco", bbox=[1, 2, 3, 4], box_format="xywh")
    with pytest.raises(InputError, match="Row 1 has an expression but no box: join them"):
        asked("refcoco", sentences=[{"sent": "a"}])
    with pytest.raises(InputError, match="must have one picture"):
        asked("refcoco", pictures=(), sent="a", bbox=[1, 2, 3, 4])


@pytest.mark.parametrize("task", ["mmmu", "refcoco"])
def test_a_broken_picture_does_not_end_a_run(task):
    """It is told when the question is asked, as in the other benchmarks."""
    values = {"question": "?", "answer": "A", "A": "x", "sent": "it", "bbox": [1, 2, 3, 4]}
    (question,) = asked(task, pictures=(b"broken",), **values)
    assert question.pictures == (b"broken",)
    assert TASKS[task].judge(question, "").score == 0


@pytest.mark.parametrize("task", ["mmbench", "mmmu"])
def test_cells_that_say_nan_are_empty(task):
    """The hub's copy of MMBench writes `nan` where there is no option and no hint."""
    values = {"question": "?", "answer": "A", "A": "x", "B": "y", "C": "nan", "hint": "nan"}
    question, *_ = asked(task, **values)
    assert question.options == {"A": "x", "B": "y"}
    assert "nan" not in question.prompt
