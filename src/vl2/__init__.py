"""DeepSeek-VL2 for Python: ask pictures questions, find things in them, train and measure.

Importing `vl2` is cheap: neither torch nor transformers is loaded until a name that needs it is
used. It also teaches the Auto classes of transformers the model type `deepseek_vl_v2`, whichever of
the two packages is imported first (see `vl2.auto`).
"""

import importlib
from typing import TYPE_CHECKING, Any

from vl2 import auto

if TYPE_CHECKING:
    from vl2.chat import Conversation, Image, Message, Text
    from vl2.engine import Answer, Assistant, load
    from vl2.errors import VL2Error
    from vl2.grounding import Box
    from vl2.model import DeepseekVLV2Config, DeepseekVLV2ForCausalLM, DeepseekVLV2Model
    from vl2.processing.processor import DeepseekVLV2Processor

__version__ = "0.1.0"

_HOMES = {
    "Answer": "vl2.engine",
    "Assistant": "vl2.engine",
    "Box": "vl2.grounding",
    "Conversation": "vl2.chat",
    "DeepseekVLV2Config": "vl2.model",
    "DeepseekVLV2ForCausalLM": "vl2.model",
    "DeepseekVLV2Model": "vl2.model",
    "DeepseekVLV2Processor": "vl2.processing.processor",
    "Image": "vl2.chat",
    "Message": "vl2.chat",
    "Text": "vl2.chat",
    "VL2Error": "vl2.errors",
    "load": "vl2.engine",
}

__all__ = [
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


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attributes are of any type
    """Imports a public name from its home on first use (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'vl2' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


auto.register_or_watch()
