"""Stand-ins for the evaluation kits: just the names that the plugins use of them."""

import sys
import types
from dataclasses import dataclass

import pytest


class Lmms:
    """What lmms-eval's base class gives a model."""

    is_simple = True

    def __init__(self):
        self.task_dict = {}
        self.cache_hook = types.SimpleNamespace(add_partial=self.remember)
        self.remembered = []

    def remember(self, name, request, answer):
        self.remembered.append((name, request[0], answer))


@dataclass(frozen=True)
class ModelManifest:
    model_id: str
    simple_class_path: str | None = None
    chat_class_path: str | None = None
    aliases: tuple = ()


class BaseModel:
    """What VLMEvalKit's base class gives a model."""


def module(name, **names):
    made = types.ModuleType(name)
    made.__dict__.update(names)
    return made


@pytest.fixture
def kits(monkeypatch):
    """Puts the stand-ins where the kits would be; the plugins are imported anew."""
    table = {}
    for made in (
        module("lmms_eval"),
        module("lmms_eval.api"),
        module("lmms_eval.api.model", lmms=Lmms),
        module("lmms_eval.models"),
        module("lmms_eval.models.registry_v2", ModelManifest=ModelManifest),
        module("vlmeval"),
        module("vlmeval.config", supported_VLM=table),
        module("vlmeval.vlm"),
        module("vlmeval.vlm.base", BaseModel=BaseModel),
    ):
        monkeypatch.setitem(sys.modules, made.__name__, made)
    for name in ("vl2.plugins.lmms_eval_model", "vl2.plugins.vlmevalkit"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield table
    for name in ("vl2.plugins.lmms_eval_model", "vl2.plugins.vlmevalkit"):
        sys.modules.pop(name, None)
