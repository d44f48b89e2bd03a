"""Requests of the kits in the model's own words, and answers in theirs."""

import pytest
from golden import picture

from vl2.errors import InputError
from vl2.plugins.asking import as_fractions, cut_at, in_parallel, interleaved, pointing_question


@pytest.mark.parametrize(
    "context",
    [
        "Please give the box of the region this sentence describes: the red cat.",
        'Find the <ref>the red cat</ref> and give "[x1, y1]: a box".',
        "the red cat",
        "Values are between 0 and 1. Please provide the box for this expression: 'the red cat'",
    ],
)
def test_a_request_for_a_box(context):
    assert pointing_question(context) == "<|ref|>the red cat<|/ref|>."


def test_a_box_in_fractions():
    said = "<|ref|>it<|/ref|><|det|>[[0, 333, 999, 666], [1, 2, 3, 4]]<|/det|>"
    assert as_fractions(said) == "[0.0000, 0.3333, 1.0000, 0.6667]"
    assert as_fractions("nowhere") == "nowhere"


def test_stops():
    assert cut_at("one\n\ntwo", ["\n\n"]) == "one"
    assert cut_at("one. two; three", [";", "."]) == "one"
    assert cut_at("one", "") == cut_at("one", None) == "one"
    assert cut_at("a</s>", "</s>") == "a"


def test_a_message_of_vlmevalkit():
    path = str(picture("97x61.png"))
    message = [
        {"type": "image", "value": path},
        {"type": "text", "value": "Question: What?\nOptions:\nA. x\n"},
        {"type": "text", "value": "Please select the correct answer from the options above. \n"},
    ]
    asked = interleaved(message, "AI2D_TEST")
    assert asked.pictures == (path,)
    assert asked.prompt == "<image>\n" + message[1]["value"] + message[2]["value"]
    mmmu = interleaved(message, "MMMU_DEV_VAL")
    assert mmmu.prompt == (
        "<image>\n<image 1> What?\nA. x\n"
        "Answer with the option's letter from the given choices directly. "
        "Answer the question using a single word or phrase.\n \n"
    )
    assert mmmu.pictures[0].size == (194, 122)
    assert interleaved(message[1:], "MMMU_DEV_VAL").pictures == ()
    with pytest.raises(InputError, match="not 'video'"):
        interleaved([{"type": "video", "value": path}], None)


def test_several_at_once_keep_their_order():
    assert in_parallel(lambda x: x * x, range(20), 4) == [x * x for x in range(20)]
