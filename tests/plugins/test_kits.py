"""The models as lmms-eval and VLMEvalKit call them, with stand-ins for both."""

import importlib
import sys
import types
from importlib.metadata import EntryPoint

import pytest
from golden import picture
from scripted import boxes, scripted

from vl2.errors import ImageError, InputError

PICTURE = str(picture("97x61.png"))
BOX = boxes("cat", (0, 333, 999, 666))


def loaded(monkeypatch, name, *answers):
    """A plugin's module whose models answer as a test wants."""
    module = importlib.import_module(f"vl2.plugins.{name}")
    assistant, engine = scripted(*answers)
    monkeypatch.setattr(module, "load", lambda *given: assistant)
    return module, engine


def request(context, settings, show, task="t"):
    return types.SimpleNamespace(args=(context, settings, show, 0, task, "test"))


def documents(model, task="t"):
    model.task_dict = {task: {"test": [{"picture": PICTURE}]}}
    return model


def prompt_of(engine, index=0):
    asked = engine.requests[index]
    return asked.prompt, asked.sampling


def test_the_entry_point_names_both_faces(kits, monkeypatch, repository):
    text = (repository / "pyproject.toml").read_text(encoding="utf-8")
    assert (
        '[project.entry-points."lmms_eval.models"]\nvl2 = "vl2.plugins.lmms_eval:manifest"' in text
    )
    point = EntryPoint("vl2", "vl2.plugins.lmms_eval:manifest", "lmms_eval.models")
    manifest = point.load()()
    assert manifest.model_id == "vl2"
    for path, simple in ((manifest.simple_class_path, True), (manifest.chat_class_path, False)):
        module, name = path.rsplit(".", 1)
        assert getattr(importlib.import_module(module), name).is_simple is simple


def test_a_simple_task(kits, monkeypatch):
    module, engine = loaded(monkeypatch, "lmms_eval_model", "one\n\nmore", "two")
    model = documents(module.VL2Simple(pretrained="x", batch_size="1", anything=3))
    settings = {"max_new_tokens": 16, "temperature": 0, "until": ["\n\n"], "do_sample": False}
    asked = [request("<image>What?", settings, lambda doc: [doc["picture"]]) for _ in range(2)]
    assert model.generate_until(asked) == ["one", "two"]
    prompt, sampling = prompt_of(engine)
    assert len(prompt.grids) == 1
    assert (sampling.max_tokens, sampling.temperature) == (16, 0)
    assert model.remembered == [("generate_until", "What?", a) for a in ("one", "two")]


def test_a_chat_task(kits, monkeypatch):
    module, engine = loaded(monkeypatch, "lmms_eval_model", "yes", "no")
    model = documents(module.VL2Chat(batch_size=1, max_tiles="1"))

    def messages(doc):
        parts = [{"type": "image", "url": doc["picture"]}, {"type": "text", "text": "What?"}]
        return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts}]

    def chat_request(show, settings):
        return types.SimpleNamespace(args=("What?", show, settings, 0, "t", "test"))

    sampled = {"temperature": 0.5, "do_sample": True, "top_p": 0.9}
    assert model.generate_until([chat_request(messages, {}), chat_request(messages, sampled)]) == [
        "yes",
        "no",
    ]
    assert prompt_of(engine)[1].max_tokens == 2048
    assert prompt_of(engine, 1)[1].temperature == 0.5
    video = [{"role": "user", "content": [{"type": "video", "url": "x"}]}]
    with pytest.raises(InputError, match="not 'video'"):
        model.generate_until([chat_request(lambda doc: video, {})])


@pytest.mark.parametrize("kind", ["VL2Simple", "VL2Chat"])
def test_pointing_is_asked_and_answered_in_fractions(kits, monkeypatch, kind):
    module, engine = loaded(monkeypatch, "lmms_eval_model", BOX)
    task = "refcoco+_bbox_rec_val"
    model = documents(getattr(module, kind)(batch_size=1), task)
    text = "All values are between 0 and 1. The region this sentence describes: cat"
    if kind == "VL2Simple":
        asked = request(text, {}, lambda doc: [doc["picture"]], task)
    else:
        parts = [{"type": "image", "url": PICTURE}, {"type": "text", "text": text}]
        said = [{"role": "user", "content": parts}]
        asked = types.SimpleNamespace(args=(text, lambda doc: said, {}, 0, task, "test"))
    assert model.generate_until([asked]) == ["[0.0000, 0.3333, 1.0000, 0.6667]"]
    processor = model._assistant.processor
    written = processor.tokenizer.decode(prompt_of(engine)[0].token_ids.tolist())
    assert "<|ref|>cat<|/ref|>." in written


def test_what_lmms_eval_cannot_have(kits, monkeypatch):
    module, _ = loaded(monkeypatch, "lmms_eval_model", "x")
    model = documents(module.VL2Simple(batch_size="auto"))
    with pytest.raises(InputError, match="answers in words"):
        model.loglikelihood([])
    with pytest.raises(InputError, match="one round"):
        model.generate_until_multi_round([])
    with pytest.raises(InputError, match="no beam search"):
        model.generate_until([request("?", {"num_beams": 3}, lambda doc: [])])


def test_vlmevalkit_asks_as_the_authors_did(kits, monkeypatch):
    module, engine = loaded(monkeypatch, "vlmevalkit", "B.", BOX)
    model = module.VL2("x")
    message = [{"type": "image", "value": PICTURE}, {"type": "text", "value": "Which?"}]
    assert model.generate_inner(message, dataset="AI2D_TEST") == "B"
    assert prompt_of(engine)[1].max_tokens == 2048
    message[1]["value"] = "Give the box of this expression: cat"
    assert model.generate_inner(message, dataset="RefCOCO_val").startswith("[0.0000, 0.3333")


def test_vlmevalkit_holds_conversations(kits, monkeypatch):
    module, engine = loaded(monkeypatch, "vlmevalkit", "Two.")
    model = module.VL2("x")
    first = [{"type": "image", "value": PICTURE}, {"type": "text", "value": "How many?"}]
    turns = [
        {"role": "user", "content": first},
        {"role": "assistant", "content": [{"type": "text", "value": "One"}]},
        {"role": "user", "content": [{"type": "text", "value": "Sure?"}]},
    ]
    assert model.chat_inner(turns, dataset="MMDU") == "Two"
    prompt, _ = prompt_of(engine)
    said = model._assistant.processor.tokenizer.decode(prompt.token_ids.tolist())
    assert len(prompt.grids) == 1
    assert said.endswith(
        "How many?\n\n<|Assistant|>:One<｜end▁of▁sentence｜><|User|>: Sure?\n\n<|Assistant|>:"
    )
    with pytest.raises(ImageError):  # then VLMEvalKit leaves old turns out
        model.chat_inner([{"role": "user", "content": [{"type": "image", "value": "absent"}]}])


@pytest.mark.parametrize("kit", ["lmms_eval_model", "vlmevalkit"])
def test_one_question_that_cannot_be_asked_does_not_end_an_evaluation(kits, monkeypatch, kit):
    module, _ = loaded(monkeypatch, kit, "yes")
    if kit == "vlmevalkit":
        message = [{"type": "image", "value": "absent.png"}, {"type": "text", "value": "?"}]
        ask, asked = module.VL2("x").generate_inner, message
    else:
        ask = documents(module.VL2Simple(batch_size=1)).generate_until
        shown = [lambda doc: ["absent.png"], lambda doc: [doc["picture"]]]
        asked = [request("?", {}, show) for show in shown]
    with pytest.warns(UserWarning, match="left without an answer: .*absent.png"):
        answered = ask(asked)
    assert answered == ("" if kit == "vlmevalkit" else ["", "yes"])


def test_models_are_in_the_table_and_the_script_is_run(kits, monkeypatch, tmp_path, capsys):
    module = importlib.import_module("vl2.plugins.vlmevalkit")
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("VL2_MODEL", "/some/folder")
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\nfrom vlmeval.config import supported_VLM\n"
        "print(sys.argv[1:], sorted(supported_VLM), supported_VLM['vl2'].keywords)\n"
    )
    assert module.main([str(script), "--model", "vl2"]) == 0
    assert capsys.readouterr().out == (
        "['--model', 'vl2'] ['vl2', 'vl2-base', 'vl2-nano', 'vl2-small', 'vl2-tiny'] "
        "{'model': '/some/folder'}\n"
    )
    assert module.main([]) == 2
    assert module.main(["absent.py"]) == 2
    assert "There is no script 'absent.py'" in capsys.readouterr().err
