"""The original's names are there during a test of this folder, and only then."""

import sys

import pytest
from transformers import AutoModelForCausalLM

from vl2.dropin.names import ROOTS, install
from vl2.model import DeepseekVLV2Config, DeepseekVLV2ForCausalLM


def take_away():
    for name in [name for name in sys.modules if name.partition(".")[0] in ROOTS]:
        del sys.modules[name]
    AutoModelForCausalLM.register(DeepseekVLV2Config, DeepseekVLV2ForCausalLM, exist_ok=True)


take_away()  # importing `vl2.dropin` above has put them there


@pytest.fixture(autouse=True)
def installed():
    install()
    yield
    take_away()
