"""The public names: few, complete, and each in one place."""

import importlib

import pytest

import vl2

PUBLIC = [
    "Answer",
    "Assistant",
    "Box",
    "Conversation",
    "DeepseekVLV2Config",
    "DeepseekVLV2ForCausalLM",
    "DeepseekVLV2Model",
    "DeepseekVLV2Processor",
    "Image",
    "Message",
    "Text",
    "VL2Error",
    "__version__",
    "load",
]


def test_all_is_exactly_this():
    assert vl2.__all__ == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_each_name_is_there_and_listed(name):
    assert getattr(vl2, name) is not None
    assert name in dir(vl2)


@pytest.mark.parametrize("name", [n for n in PUBLIC if n != "__version__"])
def test_each_name_is_the_object_of_its_home(name):
    home = importlib.import_module(vl2._HOMES[name])
    assert getattr(vl2, name) is getattr(home, name)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Helper'"):
        vl2.Helper  # noqa: B018
