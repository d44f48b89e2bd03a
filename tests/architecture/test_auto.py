"""Registration with transformers, in every order of imports that a program may choose."""

import subprocess
import sys

import pytest

CHECK = """
from transformers import AutoConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
assert CONFIG_MAPPING["deepseek_vl_v2"].__name__ == "DeepseekVLV2Config"
import vl2.auto, sys
assert not any(type(f).__module__ == "vl2.auto" for f in sys.meta_path), "the watcher is still there"
"""

ORDERS = {
    "vl2 first": "import vl2\nimport transformers",
    "transformers first": "import transformers\nimport vl2",
    "auto classes first": "from transformers import AutoModel\nimport vl2",
    "our configuration first": "from vl2.model.configuration import DeepseekVLV2Config",
    "our model first": "from vl2.model.modeling import DeepseekVLV2ForCausalLM",
    "our processor first": "from vl2.processing.processor import DeepseekVLV2Processor",
    "public names": "from vl2 import DeepseekVLV2ForCausalLM, DeepseekVLV2Processor, load",
    "a part of transformers first": "import vl2\nfrom transformers import PreTrainedModel",
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


def test_two_threads_may_import_at_once():
    code = """
import threading, vl2
def load(statement, failures):
    try:
        exec(statement, {})
    except BaseException as error:
        failures.append(error)
failures = []
statements = ["from transformers import AutoModelForCausalLM", "from vl2 import DeepseekVLV2Model"]
threads = [threading.Thread(target=load, args=(s, failures)) for s in statements]
[t.start() for t in threads], [t.join() for t in threads]
assert not failures, failures
"""
    done = subprocess.run(
        [sys.executable, "-c", code + CHECK], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
