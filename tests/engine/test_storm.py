"""Random arrivals, cancels and failures over thousands of steps.

No page leaks and no answer changes.
"""

import functools
from random import Random

import hypothesis.strategies as st
import torch
from engine_inputs import Listener, assert_all_pages_back, core_of, generated, request_of
from hypothesis import given, settings
from model_inputs import mini_model

from vl2.engine.requests import Finish
from vl2.engine.storage import BLOCK
from vl2.errors import EngineError

POISON = 63
GRIDS = ((), (), (), ((1, 1),), ((1, 2), (1, 1)))


@functools.cache
def model_with_poison():
    """Any conversation that meets the token `POISON` turns into NaN."""
    model = mini_model("tiny")  # its attention reads whole pages, also where nothing was written
    model.get_input_embeddings().weight.data[POISON] = torch.nan
    model.lm_head.weight.data[POISON] = 0  # so that no answer takes it by itself
    return model


@functools.cache
def question(kind: int):
    """One of a few questions, some of which begin alike, and what it must be answered."""
    grids, words = GRIDS[kind % len(GRIDS)], 3 + 11 * (kind % 4)
    request = request_of(grids, words=words, seed=kind % 3, max_tokens=1 + 7 * (kind % 5))
    request.prompt.token_ids[-2:] = 7 + kind
    assert POISON not in request.prompt.token_ids
    return request, generated(model_with_poison(), request)


@functools.cache
def poisoned():
    request = request_of(words=40, seed=1)
    request.prompt.token_ids[25] = POISON
    return request


class Storm:
    """A core under random work, beside what each answer must be."""

    def __init__(self, seed: int, pages: int, running: int, chunk: int) -> None:
        self.random, self.faults = Random(seed), 0
        self.core = core_of(
            model=model_with_poison(),
            cache_tokens=pages * BLOCK,
            running=running,
            step_tokens=chunk,
            shared_step_tokens=max(chunk // 2, 1),
            tiles=2,
            picture_bytes=chunk * 500,
        )
        self.run_spans = self.core._runner.run
        self.core._runner.run = self._run
        self.open = []

    def _run(self, spans):
        if self.faults:
            self.faults -= 1
            raise RuntimeError("a fault")
        return self.run_spans(spans)

    def rage(self, steps: int) -> None:
        """Do so many steps, and between them whatever comes."""
        events = (self.ask, self.ask_with_poison, self.cancel, self.fault, self.stop)
        for _ in range(steps):
            (event,) = self.random.choices((*events, lambda: None), weights=(30, 2, 5, 1, 0.3, 70))
            event()
            self.step()
        while self.core.busy:
            self.step()
        assert self.open == []
        assert_all_pages_back(self.core)

    def ask(self) -> None:
        request, expected = question(self.random.randrange(12))
        fits = len(request.prompt) + request.sampling.max_tokens <= self.core.context
        if fits and len(self.open) < 12:
            self._add(request, expected)

    def ask_with_poison(self) -> None:
        self._add(poisoned(), None)

    def _add(self, request, expected) -> None:
        listener = Listener()
        sequence = self.core.prepare(request, listener)
        self.core.add(sequence)
        self.open.append((sequence, listener, expected))

    def cancel(self) -> None:
        if not self.open:
            return
        sequence, listener, _ = self.open.pop(self.random.randrange(len(self.open)))
        sequence.cancelled = True
        heard = len(listener.events)
        self.step()
        assert len(listener.events) == heard
        assert sequence not in self.core.scheduler.sequences

    def fault(self) -> None:
        self.faults = self.random.randrange(1, 4)
        self.step()
        self.faults = 0

    def stop(self) -> None:
        self.core.fail_all(EngineError("stopped"))
        self._look()
        assert self.open == []
        assert_all_pages_back(self.core)

    def step(self) -> None:
        if self.core.busy:
            self.core.step()
        self._look()
        self._account()

    def _look(self) -> None:
        """Check every answer that has ended, and that the others are still worked on."""
        working = self.core.scheduler.sequences
        for entry in list(self.open):
            sequence, listener, expected = entry
            if not listener.ended:
                assert sequence in working
                assert expected is None or expected.startswith(listener.text)
                continue
            self.open.remove(entry)
            assert sequence not in working
            if isinstance(listener.end, Finish):
                assert listener.text == expected
            else:
                own = ("not finite",) if expected is None else ()
                assert any(words in str(listener.end) for words in ("fault", "stopped", *own))

    def _account(self) -> None:
        pool, counts = self.core.scheduler.pool, {}
        for sequence in self.core.scheduler.running:
            for page in sequence.pages:
                counts[page] = counts.get(page, 0) + 1
        assert counts == {page: n for page, n in enumerate(pool._holders) if n}
        assert 0 not in counts


def test_nothing_leaks_and_no_answer_changes() -> None:
    storm = Storm(seed=1, pages=11, running=6, chunk=40)
    storm.rage(1500)
    stats = storm.core.stats()
    assert stats.finished > 200
    assert min(stats.cancelled, stats.failed, stats.preempted) > 12
    assert min(stats.pictures_encoded, stats.pictures_reused) > 12
    assert stats.reused_tokens > 1000


@settings(max_examples=5, derandomize=True)
@given(st.integers(0, 2**32), st.integers(7, 20), st.integers(1, 8), st.integers(2, 90))
def test_whatever_the_limits(seed: int, pages: int, running: int, chunk: int) -> None:
    Storm(seed, pages, running, chunk).rage(100)
