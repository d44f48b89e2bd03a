import pytest
from PIL import Image

from vl2.evals.judging import judge
from vl2.synth import Sample, Scene, Thing, Turn, sample


@pytest.fixture
def two_stars():
    things = (
        Thing("shape", "red", "star", 10, 10, 40, 40),
        Thing("shape", "red", "star", 60, 60, 90, 90),
    )
    return Sample((Scene(Image.new("RGB", (100, 100)), things, ()),), ())


def test_a_string_is_judged_with_its_case_and_a_closed_answer_without():
    of = sample(0)
    assert judge(Turn("word", "", "House"), "House", of)
    assert not judge(Turn("word", "", "House"), "house", of)
    assert judge(Turn("colour", "", "red"), "Red", of)
    assert not judge(Turn("colour", "", "red"), "red.", of)
    assert judge(Turn("lines", "", "a\nb"), "a\nb\n", of)


def test_one_box_needs_half_an_overlap_and_no_company(two_stars):
    turn = Turn("locate_one", "", "<|ref|>star<|/ref|><|det|>[[100, 100, 400, 400]]<|/det|>")
    assert judge(turn, "<|det|>[[110, 90, 400, 400]]<|/det|>", two_stars)
    assert judge(turn, "<|det|>[[100, 100, 400, 255]]<|/det|>", two_stars)
    assert not judge(turn, "<|det|>[[100, 100, 400, 245]]<|/det|>", two_stars)
    both = "<|det|>[[100, 100, 400, 400], [600, 600, 900, 900]]<|/det|>"
    assert not judge(turn, both, two_stars)
    assert not judge(turn, "There is no star.", two_stars)


def test_several_boxes_match_one_to_one_in_any_order(two_stars):
    answer = "<|det|>[[100, 100, 400, 400], [600, 600, 900, 900]]<|/det|>"
    turn = Turn("locate_several", "", answer)
    swapped = "<|det|>[[600, 600, 900, 900], [100, 100, 400, 400]]<|/det|>"
    twice = "<|det|>[[600, 600, 900, 900], [600, 600, 900, 900]]<|/det|>"
    assert judge(turn, swapped, two_stars)
    assert not judge(turn, twice, two_stars)
    assert not judge(turn, "<|det|>[[100, 100, 400, 400]]<|/det|>", two_stars)


def test_grounded_captions_need_the_right_labels(two_stars):
    spelt = "A <|ref|>red star<|/ref|><|det|>[[100, 100, 400, 400]]<|/det|>."
    turn = Turn("grounded_caption", "", spelt)
    assert judge(turn, spelt, two_stars)
    assert not judge(turn, spelt.replace("red", "blue"), two_stars)


def test_absence_is_said_without_a_box():
    of = sample(0)
    turn = Turn("locate_absent", "", "There is no red star.")
    assert judge(turn, "There is no red star.", of)
    assert judge(turn, "There is no such thing.", of)
    assert not judge(turn, "<|ref|>star<|/ref|><|det|>[[1, 1, 2, 2]]<|/det|>", of)
    assert not judge(turn, "There is no star. <|det|>[[1, 1, 2, 2]]<|/det|>", of)


@pytest.mark.parametrize(
    ("task", "answer", "reply", "right"),
    [
        ("paragraph", "Cold tea, warm milk.", "Cold tea, warm mlk.", True),
        ("paragraph", "Cold tea, warm milk.", "Cold tea, wrm mlkk.", False),
        ("paragraph", "Cold tea.", "Cold tea. " * 20, False),
        ("chart_value", "100", "105", True),
        ("chart_value", "100", "106", False),
        ("chart_value", "100", "a hundred", False),
        ("chart_value", "40%", "41%", True),
        ("chart_value", "40%", "41", True),
        ("chart_difference", "$40", "$40", True),
        ("chart_difference", "$40", "$41", True),
        ("chart_difference", "$40", "41", True),
        ("chart_difference", "$40", "$50", False),
        ("chart_largest", "Tea", "tea", True),
        ("chart_largest", "Tea", "milk", False),
        ("receipt", "$4.80", "$4.80", True),
        ("receipt", "$4.80", "4.80", False),
        ("cell", "Rome", "rome", False),
        ("story", "A red star is on the left.", "a red star is on the left.", True),
        ("which_picture", "second", "third", False),
        ("text_only", "12", " 12", True),
    ],
)
def test_each_new_task_has_its_rule(task, answer, reply, right):
    assert judge(Turn(task, "", answer), reply, Sample((), ())) is right


TABLE = "| Name | Age |\n| --- | --- |\n| Anna | 31 |\n| Ben | 4 |"


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        (TABLE, True),
        (TABLE.replace("| --- | --- |", "|:--|--:|"), True),
        (TABLE.replace(" ", ""), True),
        (TABLE.replace("Anna", "Ana"), True),  # one letter of a small cell
        (TABLE.replace("31", "9"), False),
        (TABLE.replace("| Ben | 4 |", ""), False),
        ("Name Age Anna 31 Ben 4", False),
        (TABLE.replace("Anna", "<td>"), False),
    ],
)
def test_tables_are_compared_as_trees(reply, right):
    assert judge(Turn("table_markdown", "", TABLE), reply, Sample((), ())) is right


def test_boxes_in_context_lie_on_the_last_picture(two_stars):
    (scene,) = two_stars.scenes
    first = Scene(scene.image, (Thing("shape", "red", "star", 0, 0, 30, 30),), ())
    answer = "<|ref|>star<|/ref|><|det|>[[600, 600, 900, 900]]<|/det|>"
    pair = Sample((first, scene), ())
    assert judge(Turn("in_context", "", answer), answer, pair)
    assert not judge(Turn("in_context", "", answer), answer.replace("600", "0"), pair)
