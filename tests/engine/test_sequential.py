"""The engine against the original release, and its stops."""

import numpy as np
import pytest
import torch
from golden import VARIANTS, checkpoint, load_case

from vl2.engine.requests import Delta, Finish, Request, Sampling
from vl2.engine.sequential import SequentialEngine
from vl2.errors import ContextError
from vl2.model.loading import load_model
from vl2.processing.processor import DeepseekVLV2Processor


@pytest.fixture(scope="module", params=VARIANTS)
def parts(request):
    """A variant's name, processor and model."""
    folder = checkpoint(request.param)
    model = load_model(folder, dtype=torch.float32)
    return request.param, DeepseekVLV2Processor.from_pretrained(folder), model


@pytest.fixture(scope="module")
def base():
    folder = checkpoint("base")
    processor = DeepseekVLV2Processor.from_pretrained(folder)
    return processor, load_model(folder, dtype=torch.float32)


def text_and_end(engine: SequentialEngine, request: Request) -> tuple[str, Finish]:
    *deltas, finish = engine.generate(request)
    assert all(isinstance(delta, Delta) and delta.text for delta in deltas)
    assert isinstance(finish, Finish)
    return "".join(delta.text for delta in deltas), finish


@pytest.mark.parametrize("name", ["grounding", "text_only"])
def test_greedy_answers_are_those_of_the_original(parts, name) -> None:
    variant, processor, model = parts
    case = load_case(variant, name)
    expected = case.tensors["greedy_tokens"].tolist()
    engine = SequentialEngine(model, processor)
    engine._ends = set()  # as when the golden tokens were made
    request = Request(processor.encode(case.messages), Sampling(max_tokens=len(expected)))
    text, finish = text_and_end(engine, request)
    assert list(engine._tokens(request, len(expected))) == expected
    assert text == processor.tokenizer.decode(expected).removesuffix("\ufffd")
    assert (finish.reason, finish.usage.completion_tokens) == ("length", len(expected))
    assert finish.usage.prompt_tokens == len(case.tensors["input_ids"])
    assert finish.usage.image_tokens == sum(case.info["num_image_tokens"])


def test_an_answer_ends_at_the_end_token(base) -> None:
    processor, model = base
    engine = SequentialEngine(model, processor)
    prompt = processor.encode("Hello")
    tokens = list(engine._tokens(Request(prompt, Sampling()), 10))
    position = next(i for i, token in enumerate(tokens) if token not in tokens[:i] and i > 2)
    engine._ends = {tokens[position]}
    text, finish = text_and_end(engine, Request(prompt, Sampling()))
    assert text == processor.tokenizer.decode(tokens[:position]).removesuffix("\ufffd")
    assert finish.reason == "stop"
    assert finish.usage.completion_tokens == position + 1


def test_pictures_are_never_generated(base, monkeypatch) -> None:
    processor, model = base
    engine = SequentialEngine(model, processor)
    prompt = processor.encode("Hello")
    wanted = torch.zeros(model.config.language_config.vocab_size)
    wanted[processor.image_token_id], wanted[65] = 9.0, 5.0
    monkeypatch.setattr(engine, "_prefill", lambda prompt: (wanted, None))
    monkeypatch.setattr(engine, "_step", lambda token, cache: wanted)
    assert set(engine._tokens(Request(prompt, Sampling()), 5)) == {65}


def test_the_same_seed_gives_the_same_answer(base) -> None:
    processor, model = base
    engine = SequentialEngine(model, processor)
    prompt = processor.encode("Hello")

    def answer(seed: int) -> str:
        return text_and_end(engine, Request(prompt, Sampling(2.0, 0.9, 12, seed)))[0]

    assert answer(3) == answer(3)
    assert answer(3) != answer(4)


def test_an_answer_ends_where_the_context_does(base, monkeypatch) -> None:
    processor, model = base
    prompt = processor.encode("Hello")
    language = model.config.language_config
    monkeypatch.setattr(language, "max_position_embeddings", len(prompt) + 3)
    engine = SequentialEngine(model, processor)
    engine._ends = set()
    _, finish = text_and_end(engine, Request(prompt, Sampling(max_tokens=100)))
    assert (finish.reason, finish.usage.total_tokens) == ("length", len(prompt) + 3)


def test_a_full_context_leaves_no_room(base, monkeypatch) -> None:
    processor, model = base
    prompt = processor.encode("Hello")
    monkeypatch.setattr(model.config.language_config, "max_position_embeddings", len(prompt))
    engine = SequentialEngine(model, processor)
    with pytest.raises(ContextError, match=f"takes {len(prompt)} tokens"):
        next(engine.generate(Request(prompt, Sampling())))


def test_an_answer_may_be_left_early(base) -> None:
    processor, model = base
    engine = SequentialEngine(model, processor)
    steps = []
    step = engine._step
    engine._step = lambda token, cache: steps.append(token) or step(token, cache)
    events = engine.generate(Request(processor.encode("Hello"), Sampling(max_tokens=50)))
    next(events)
    events.close()
    assert len(steps) <= 4
    assert not torch.is_inference_mode_enabled()


def test_end_tokens_come_from_tokenizer_and_settings(base) -> None:
    processor, model = base
    engine = SequentialEngine(model, processor)
    assert processor.tokenizer.eos_token_id in engine._ends
    assert processor.image_token_id in engine._never
    assert np.isscalar(engine.context)
