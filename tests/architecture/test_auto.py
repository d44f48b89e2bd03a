"""Registration with transformers, in every order of imports that a program may choose."""

import subprocess
import sys

import pytest

CHECK = """
from transformers import AutoConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
assert CONFIG_MAPPING["deepseek_vl_v2"].__name__ == "DeepseekVLV2Config"
import vl2.auto, sys
assert not any(type(f).__module__ == "vl2.auto" for f in sys.meta_path), "still watching"
"""

ORDERS = {
    "vl2 first": "import vl2\nimport transformers",
    "transformers first": "import transformers\nimport vl2",
    "our model first": "from vl2.model.modeling import DeepseekVLV2ForCausalLM",
    "our processor first": "from vl2.processing.processor import DeepseekVLV2Processor",
    "public names": "from vl2 import DeepseekVLV2ForCausalLM, DeepseekVLV2Processor, load",
    "the trainer first": "import vl2\nfrom transformers import Trainer",
    "registered by hand, twice": (
        "import vl2\nfrom vl2.model.registration import register\nregister()\nregister()"
    ),
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())
def test_auto_classes_know_the_model(order):
    done = subprocess.run(
        [sys.executable, "-c", order + CHECK], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
