"""The engine's two faces, its thread, and the original release's answers through it."""

import asyncio
import gc
import threading
import time
import weakref

import pytest
import torch
from engine_inputs import MiniProcessor, generated, request_of, shared_model
from golden import VARIANTS, checkpoint, load_case

from vl2.engine import BatchingEngine, Delta, Finish, Limits, Request, Sampling
from vl2.errors import BusyError, ContextError, EngineError
from vl2.model.loading import load_model
from vl2.processing.processor import DeepseekVLV2Processor

LONG = 4000


@pytest.fixture
def engine():
    made = BatchingEngine(shared_model("base"), MiniProcessor())
    yield made
    made.close()


def engine_of(**limits) -> BatchingEngine:
    return BatchingEngine(shared_model("base"), MiniProcessor(), Limits(**limits))


def core_of(engine):
    return engine._core


def text_of(events) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def wait_until(done) -> None:
    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.002)


@pytest.mark.parametrize("variant", VARIANTS)
def test_greedy_answers_are_those_of_the_original(variant) -> None:
    folder = checkpoint(variant)
    processor = DeepseekVLV2Processor.from_pretrained(folder)
    engine = BatchingEngine(load_model(folder, dtype=torch.float32), processor)
    cases = [load_case(variant, name) for name in ("grounding", "text_only")]
    expected = [case.tensors["greedy_tokens"].tolist() for case in cases]
    streams = [
        engine.generate(
            Request(
                processor.encode(case.messages),
                Sampling(max_tokens=len(tokens), ignore_eos=True, logprobs=True),
            )
        )
        for case, tokens in zip(cases, expected, strict=True)
    ]
    for case, tokens, stream in zip(cases, expected, streams, strict=True):
        *deltas, finish = stream
        assert [c.chosen.id for delta in deltas for c in delta.choices] == tokens
        assert text_of(deltas) == processor.tokenizer.decode(tokens).removesuffix("\ufffd")
        assert finish.reason == "length"
        assert finish.usage.prompt_tokens == len(case.tensors["input_ids"])
        assert finish.usage.image_tokens == sum(case.info["num_image_tokens"])
    engine.close()


def test_end_tokens_come_from_tokenizer_and_settings(engine) -> None:
    assert core_of(engine).ends == {1}
    assert 5 in core_of(engine).never


def test_from_several_threads(engine) -> None:
    requests = [request_of(seed=seed, max_tokens=20) for seed in range(6)]
    texts = {}

    def ask(number: int) -> None:
        texts[number] = text_of(engine.generate(requests[number]))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [texts[n] for n in range(6)] == [generated(shared_model("base"), r) for r in requests]


def test_from_coroutines(engine) -> None:
    requests = [request_of(seed=seed, max_tokens=20) for seed in range(6)]

    async def ask(request) -> str:
        events = [event async for event in engine.stream(request)]
        assert isinstance(events[-1], Finish)
        return text_of(events)

    async def ask_all():
        return await asyncio.gather(*map(ask, requests))

    assert asyncio.run(ask_all()) == [generated(shared_model("base"), r) for r in requests]


@pytest.mark.parametrize("leave", ["close", "forget"])
def test_leaving_early_ends_the_work(engine, leave) -> None:
    events = engine.generate(request_of(max_tokens=LONG))
    next(events)
    if leave == "close":
        events.close()
        assert list(events) == []
    del events
    gc.collect()
    wait_until(lambda: engine.stats().cancelled == 1)
    assert engine.stats().pages_held == 0
    assert engine.stats().answer_tokens < LONG - 1


@pytest.mark.parametrize("leave", ["aclose", "cancel", "forget"])
def test_leaving_a_coroutine_early_ends_the_work(engine, leave) -> None:
    async def ask() -> None:
        events = engine.stream(request_of(max_tokens=LONG))
        await anext(events)
        if leave == "aclose":
            await events.aclose()
            assert [event async for event in events] == []
        elif leave == "cancel":

            async def read(events) -> None:
                async for _ in events:
                    pass

            task = asyncio.create_task(read(events))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        del events
        gc.collect()
        for _ in range(2000):
            if engine.stats().cancelled:
                break
            await asyncio.sleep(0.002)
        assert engine.stats().cancelled == 1

    asyncio.run(ask())
    assert engine.stats().pages_held == 0


def test_a_loop_that_was_closed_harms_nobody(engine) -> None:
    events = []

    async def ask() -> None:
        events.append(engine.stream(request_of(max_tokens=200)))

    asyncio.run(ask())
    assert text_of(engine.generate(request_of(seed=3))) == generated(
        shared_model("base"), request_of(seed=3)
    )
    wait_until(lambda: engine.stats().finished == 2)


def test_a_full_queue_is_told_at_once() -> None:
    engine = engine_of(running=1, waiting=1)
    first, second = (engine.generate(request_of(seed=s, max_tokens=LONG)) for s in range(2))
    with pytest.raises(BusyError, match="has 2 requests"):
        engine.generate(request_of())
    first.close()
    second.close()
    wait_until(lambda: engine.stats().cancelled == 2)
    assert text_of(engine.generate(request_of())) == generated(shared_model("base"), request_of())
    engine.close()


def test_no_room_is_told_at_once(engine) -> None:
    with pytest.raises(ContextError, match="takes 4096 tokens"):
        engine.generate(request_of(words=4095))

    async def ask() -> None:
        with pytest.raises(ContextError, match="takes 4096 tokens"):
            engine.stream(request_of(words=4095))

    asyncio.run(ask())
    assert core_of(engine).scheduler.sequences == []


def test_closing_ends_the_thread_and_what_it_works_on(engine) -> None:
    events = engine.generate(request_of(max_tokens=LONG))
    next(events)
    thread = engine._worker._thread
    engine.close()
    assert not thread.is_alive()
    with pytest.raises(EngineError, match="was closed before this answer"):
        list(events)
    with pytest.raises(EngineError, match="is closed"):
        engine.generate(request_of())
    engine.close()


def test_a_forgotten_engine_ends_its_thread_but_not_before_its_answers() -> None:
    engine = engine_of()
    events = engine.generate(request_of(max_tokens=50))
    next(events)
    thread, gone = engine._worker._thread, weakref.ref(engine)
    del engine
    gc.collect()
    assert len(list(events)) == 50
    gc.collect()
    assert gone() is None
    wait_until(lambda: not thread.is_alive())


def test_a_thread_that_stopped_in_the_middle_is_replaced(engine, monkeypatch) -> None:
    told = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_value))
    core = core_of(engine)
    step = core.step
    events = engine.generate(request_of(max_tokens=LONG))
    next(events)

    def stop() -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(core, "step", stop)
    with pytest.raises(EngineError, match="stopped unexpectedly"):
        list(events)
    wait_until(lambda: engine._worker._thread is None and told)
    assert isinstance(told[0], KeyError)
    monkeypatch.setattr(core, "step", step)
    assert text_of(engine.generate(request_of())) == generated(core.model, request_of())
    assert engine.stats().pages_held == 0
    assert not torch.is_inference_mode_enabled()


def test_a_thread_that_cannot_begin_anew_keeps_nobody_waiting(engine, monkeypatch) -> None:
    def fail() -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    core = core_of(engine)
    for name in ("step", "reset"):
        monkeypatch.setattr(core, name, fail)
    for _ in range(2):
        with pytest.raises(EngineError, match="stopped unexpectedly"):
            list(engine.generate(request_of()))
        wait_until(lambda: engine._worker._thread is None)
    monkeypatch.undo()
    assert text_of(engine.generate(request_of())) == generated(core.model, request_of())
