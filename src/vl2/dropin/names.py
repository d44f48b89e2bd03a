"""The module names of the original, and what stands behind them."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

from transformers import AutoModelForCausalLM

from vl2.dropin import conversation, drawing, inference, io, modeling, processing
from vl2.dropin.modeling import DeepseekVLV2ForCausalLM
from vl2.dropin.processing import DeepseekVLV2Processor
from vl2.model.configuration import DeepseekVLV2Config
from vl2.model.registration import register

ROOTS = ("deepseek_vl2", "deepseek_vl")
"""The package's name, and how the model cards spell it."""

_PACKAGES = ("", ".models", ".utils", ".serve", ".serve.app_modules")
_MODULES = {
    ".models.conversation": conversation,
    ".models.processing_deepseek_vl_v2": processing,
    ".models.modeling_deepseek_vl_v2": modeling,
    ".utils.io": io,
    ".serve.inference": inference,
    ".serve.app_modules.utils": drawing,
}


def install(*, replace: bool = False) -> tuple[str, ...]:
    """Makes the original's names importable, and its call of `AutoModelForCausalLM` work.

    Again is harmless.

    Args:
        replace: also where the original itself could be imported.

    Returns:
        The names of the packages that `vl2` now stands behind.
    """
    taken = tuple(root for root in ROOTS if replace or _is_free(root))
    for root in taken:
        _put(root)
    if ROOTS[0] in taken:
        register()
        AutoModelForCausalLM.register(DeepseekVLV2Config, DeepseekVLV2ForCausalLM, exist_ok=True)
    return taken


def _is_free(root: str) -> bool:
    if root in sys.modules:
        return isinstance(sys.modules[root], _Package)
    return importlib.util.find_spec(root) is None


class _Package(ModuleType):
    """A package that has no folder."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "Stands in for a package of the original; see `vl2.dropin`.")
        self.__path__ = []
        self.__spec__ = ModuleSpec(name, None, is_package=True)


def _put(root: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == root]:
        del sys.modules[name]
    modules: dict[str, ModuleType] = {end: _Package(root + end) for end in _PACKAGES}
    modules[".models"].__dict__.update(
        DeepseekVLV2Processor=DeepseekVLV2Processor,
        DeepseekVLV2ForCausalLM=DeepseekVLV2ForCausalLM,
        __all__=["DeepseekVLV2Processor", "DeepseekVLV2ForCausalLM"],
    )
    modules |= _MODULES
    for end, module in modules.items():
        sys.modules[root + end] = module
        parent, _, name = end.rpartition(".")
        if name:
            setattr(modules[parent], name, module)
