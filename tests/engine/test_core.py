"""Many requests at once give what each gives alone, however pages and steps are shared."""

import functools

import pytest
import torch
from engine_inputs import (
    Listener,
    answers,
    assert_all_pages_back,
    begin,
    core_of,
    generated,
    prompt_of,
    request_of,
    run,
    shared_model,
)
from model_inputs import EOS, mini_model

from vl2.engine.requests import Delta, Finish, Request
from vl2.engine.sampling import Sampling
from vl2.engine.storage import BLOCK
from vl2.errors import ContextError, EngineError, InputError

VARIANTS = ("tiny", "small", "base")
everywhere = pytest.mark.parametrize("variant", VARIANTS)

MIXED = [
    request_of([(1, 2)], words=9, seed=1),
    request_of([], words=4, seed=2),
    request_of([(1, 1), (2, 1)], words=3, seed=3, max_tokens=12),
    request_of([], words=70, seed=4, max_tokens=20),
    request_of([], words=1, seed=5, max_tokens=1),
    request_of([(2, 1)], words=33, seed=6),
    request_of([], words=15, seed=7, max_tokens=3),
    request_of([], words=16, seed=8, max_tokens=40),
] + [request_of([], words=10 + i, seed=20 + i, max_tokens=5 + i) for i in range(8)]


@functools.cache
def expected(variant: str) -> list[str]:
    return [generated(shared_model(variant), request) for request in MIXED]


@everywhere
def test_sixteen_at_once_answer_as_generate_does_alone(variant) -> None:
    core = core_of(variant)
    assert answers(core, *MIXED) == expected(variant)
    assert_all_pages_back(core)
    stats = core.stats()
    assert (stats.finished, stats.failed, stats.cancelled) == (16, 0, 0)
    assert stats.answer_tokens == sum(request.sampling.max_tokens for request in MIXED)
    assert stats.prompt_tokens == sum(len(request.prompt) for request in MIXED)


@everywhere
@pytest.mark.parametrize(
    "limits",
    [
        {"step_tokens": 1, "shared_step_tokens": 1},
        {"step_tokens": 7, "shared_step_tokens": 5, "tiles": 1, "running": 3},
        {"cache_tokens": 10 * BLOCK},
        {"running": 1, "picture_bytes": 0},
    ],
    ids=["token_by_token", "small_chunks", "few_pages", "one_by_one"],
)
def test_limits_change_no_answer(variant, limits) -> None:
    core = core_of(variant, **limits)
    assert answers(core, *MIXED) == expected(variant)
    assert_all_pages_back(core)


def test_an_answer_that_gave_its_pages_back_goes_on_where_it_was() -> None:
    core = core_of(cache_tokens=6 * BLOCK)
    requests = [request_of([], words=20, seed=s, max_tokens=40) for s in range(3)]
    hot = Request(prompt_of([], words=20, seed=7), Sampling(1.5, 1.0, 40, 1, ignore_eos=True))
    texts = answers(core, *requests, hot)
    assert core.stats().preempted >= 2
    assert texts[:3] == [generated(core.model, request) for request in requests]
    assert texts[3:] == answers(core_of(), hot)
    assert_all_pages_back(core)


def test_seeds_do_not_depend_on_who_shares_the_batch() -> None:
    def hot(seed: int):
        sampling = Sampling(1.5, 0.9, 30, seed, ignore_eos=True)
        return Request(prompt_of([], words=12, seed=1), sampling)

    alone = answers(core_of(), hot(3))
    assert answers(core_of(), *MIXED, hot(3), hot(4))[16] == alone[0]
    assert answers(core_of(cache_tokens=10 * BLOCK), *MIXED, hot(3))[16] == alone[0]
    assert answers(core_of(), hot(4)) != alone


def test_running_answers_get_a_token_in_every_step_of_a_long_prefill() -> None:
    core = core_of(step_tokens=64, shared_step_tokens=16)
    (short,) = begin(core, request_of([], words=4, max_tokens=60))
    core.step()
    (long,) = begin(core, request_of([], words=600, seed=9, max_tokens=2))
    steps = 0
    while not long.events:
        before = len(short.events)
        core.step()
        steps += 1
        assert len(short.events) == before + 1
    assert steps == -(-601 // 16)


def test_pictures_are_encoded_one_tile_a_step_while_answers_are_written() -> None:
    core = core_of(tiles=4)
    (text,) = begin(core, request_of([], words=4, max_tokens=60))
    core.step()
    (seeing,) = begin(core, request_of([(2, 1), (1, 1)], max_tokens=2))
    before = len(text.events)
    while not seeing.events:
        core.step()
    assert len(text.events) - before == 3 + 2 + 1


def test_earlier_requests_answer_first() -> None:
    core = core_of(running=1)
    first, second = begin(core, request_of(seed=1), request_of(seed=2))
    while not first.ended:
        assert not second.events
        core.step()


def test_an_answer_ends_at_the_end_token() -> None:
    model = mini_model("base")
    model.lm_head.weight.data[EOS] *= 3
    request = request_of([], words=7, seed=3, max_tokens=200, ignore_eos=False)
    core = core_of(model=model)
    (listener,) = run(core, request)
    assert listener.end.reason == "stop"
    count = listener.end.usage.completion_tokens
    assert count < 200
    assert len(listener.text) == count - 1
    assert listener.text == generated(model, request)[:-1]


def test_an_answer_ends_where_the_context_or_the_cache_does() -> None:
    (listener,) = run(core_of(cache_tokens=3 * BLOCK), request_of(words=30, max_tokens=4000))
    assert (listener.end.reason, listener.end.usage.total_tokens) == ("length", 3 * BLOCK)


def test_what_cannot_be_answered_is_told_at_once() -> None:
    core = core_of(cache_tokens=3 * BLOCK)
    assert core.context == 3 * BLOCK
    with pytest.raises(ContextError, match="takes 48 tokens") as caught:
        core.prepare(request_of(words=47), Listener())
    assert "pictures" not in str(caught.value)
    with pytest.raises(InputError, match="token 64"):
        core.prepare(request_of(logit_bias={64: 1.0}), Listener())
    assert not core.busy


def test_pictures_are_never_generated() -> None:
    model = mini_model("base")
    model.lm_head.weight.data[5] = model.lm_head.weight.data.abs().amax() * 50
    for seed in range(4):
        for options in ({}, {"temperature": 1.0}, {"logit_bias": {5: 100.0}}):
            (listener,) = run(core_of(model=model), request_of(seed=seed, **options))
            assert "5" not in listener.text


# --- sharing ------------------------------------------------------------------------------------


@everywhere
def test_a_second_question_about_the_same_picture_reuses_pages_and_picture(variant) -> None:
    core = core_of(variant)
    page = [(1, 2)]
    first = request_of(page, words=20, seed=1)
    second = request_of(page, words=20, seed=1)
    second.prompt.token_ids[-5:] = (7, 8, 9, 10, 11)
    (one,) = run(core, first)
    (two,) = run(core, second)
    assert one.end.usage.cached_tokens == 0
    same = len(first.prompt) - 5
    assert two.end.usage.cached_tokens == same // BLOCK * BLOCK
    assert core.stats().pictures_encoded == 1
    assert [one.text, two.text] == [generated(core.model, r) for r in (first, second)]


def test_a_prompt_that_is_known_to_its_end_is_answered_again() -> None:
    core = core_of()
    request = request_of(words=2 * BLOCK - 1)
    first, second = run(core, request)[0], run(core, request)[0]
    assert second.end.usage.cached_tokens == BLOCK
    assert first.text == second.text == generated(core.model, request)


def test_a_later_turn_reuses_the_answer_too() -> None:
    core = core_of()
    first = request_of(words=20, max_tokens=30)
    (one,) = run(core, first)
    said = [ord(letter) - ord("0") for letter in one.text]
    second = request_of(words=20 + 30 + 4, max_tokens=4)
    second.prompt.token_ids[: 21 + 30] = [*first.prompt.token_ids, *said]
    (two,) = run(core, second)
    # The last token of an answer never goes through the model.
    assert two.end.usage.cached_tokens == (21 + 29) // BLOCK * BLOCK
    assert two.text == generated(core.model, second)


def test_other_pictures_and_other_grids_share_nothing() -> None:
    core = core_of()
    run(core, request_of([(1, 2)], words=9, seed=1))
    for other in (request_of([(1, 2)], words=9, seed=2), request_of([(2, 1)], words=9, seed=1)):
        (listener,) = run(core, other)
        assert listener.end.usage.cached_tokens == 0
        assert listener.text == generated(core.model, other)


def test_a_picture_whose_pages_are_known_is_not_encoded_again() -> None:
    core = core_of(picture_bytes=0)
    run(core, request_of([(1, 2)], words=40, seed=1))
    run(core, request_of([(1, 2)], words=40, seed=1))
    assert core.stats().pictures_encoded == 1


def test_a_full_cache_forgets_what_was_not_used_longest() -> None:
    core = core_of(cache_tokens=8 * BLOCK)
    old, new = (
        request_of(words=47, seed=1, max_tokens=1),
        request_of(words=47, seed=2, max_tokens=1),
    )
    run(core, old)
    run(core, new)
    run(core, request_of(words=47, seed=3, max_tokens=1))
    (listener,) = run(core, new)
    assert listener.end.usage.cached_tokens == 2 * BLOCK
    (listener,) = run(core, old)
    assert listener.end.usage.cached_tokens == BLOCK  # beginnings stay longest


# --- faults -------------------------------------------------------------------------------------

POISON = 63
"""A token whose embedding is not a number."""


def poisoned():
    request = request_of(words=40, seed=5)
    request.prompt.token_ids[20] = POISON
    return request


@pytest.fixture
def sick_model():
    model = mini_model("base")
    model.get_input_embeddings().weight.data[POISON] = torch.nan
    return model


def healthy() -> list[tuple[Request, str]]:
    """Requests whose prompts and answers do not meet the poison, and their answers."""
    letter = chr(ord("0") + POISON)
    pairs = zip(MIXED, expected("base"), strict=True)
    return [
        (r, text) for r, text in pairs if POISON not in r.prompt.token_ids and letter not in text
    ]


@pytest.mark.parametrize("limits", [{}, {"step_tokens": 9, "shared_step_tokens": 4}])
def test_numbers_that_are_not_finite_end_their_own_answer_only(sick_model, limits) -> None:
    core = core_of(model=sick_model, **limits)
    others, texts = zip(*healthy(), strict=True)
    assert len(others) > 8
    listeners = begin(core, *others[:4], poisoned(), *others[4:])
    while core.busy:
        core.step()
    bad = listeners.pop(4)
    assert isinstance(bad.end, EngineError)
    assert "not finite" in str(bad.end)
    assert tuple(x.text for x in listeners) == texts
    assert_all_pages_back(core)
    assert core.stats().failed == 1


def test_pages_of_a_poisoned_answer_are_clean_for_the_next(sick_model) -> None:
    core = core_of(model=sick_model, cache_tokens=5 * BLOCK)
    fitting = [
        (request, text)
        for request, text in healthy()
        if len(request.prompt) + request.sampling.max_tokens <= 5 * BLOCK
    ]
    assert len(fitting) > 5
    for request, text in fitting:
        (bad,) = run(core, poisoned())
        assert isinstance(bad.end, EngineError)
        assert_all_pages_back(core)
        assert answers(core, request) == [text]


def test_a_step_that_raises_ends_only_the_answer_at_fault(monkeypatch) -> None:
    core = core_of()
    run_spans, bad_token = core._runner.run, 62

    def run_or_raise(spans):
        if any(bad_token in span.tokens and span.start == 0 for span in spans):
            raise torch.OutOfMemoryError("tried to allocate 9 GB")
        return run_spans(spans)

    monkeypatch.setattr(core._runner, "run", run_or_raise)
    known = zip(MIXED, expected("base"), strict=True)
    others, texts = zip(*(e for e in known if bad_token not in e[0].prompt.token_ids), strict=True)
    assert len(others) > 8
    bad = request_of(words=20, seed=77)
    bad.prompt.token_ids[3] = bad_token
    listeners = begin(core, *others[:4], bad, *others[4:])
    while core.busy:
        core.step()
    failed = listeners.pop(4)
    assert "ran out of memory (tried to allocate 9 GB)" in str(failed.end)
    assert tuple(x.text for x in listeners) == texts
    assert_all_pages_back(core)


def test_a_picture_that_cannot_be_encoded_ends_its_answer_only(monkeypatch) -> None:
    core = core_of()
    model = core.model.model
    tower = model.vision_tower.forward

    def forward(pixels):
        if pixels.shape[0] == 2:
            raise RuntimeError("broken")
        return tower(pixels)

    monkeypatch.setattr(model.vision_tower, "forward", forward)
    bad, good = run(core, request_of([(1, 1)]), request_of([(1, 2)]))
    assert str(bad.end) == "This answer could not be computed: broken"
    assert isinstance(good.end, Finish)
    assert_all_pages_back(core)
    monkeypatch.setattr(model.vision_tower, "forward", lambda pixels: tower(pixels) * torch.nan)
    (bad,) = run(core, request_of([(2, 1)]))
    assert "not finite for a picture" in str(bad.end)
    monkeypatch.undo()
    assert answers(core, request_of([(2, 1)])) == [generated(core.model, request_of([(2, 1)]))]


@pytest.mark.parametrize("after", [0, 1, 3, 6, 20])
def test_cancelled_at_any_step(after) -> None:
    core = core_of(step_tokens=20, tiles=1, running=4)
    listeners, sequences = [], []
    for request in MIXED:
        listeners.append(Listener())
        sequences.append(core.prepare(request, listeners[-1]))
        core.add(sequences[-1])
    for _ in range(after):
        core.step()
    gone = [i for i in range(0, 16, 3) if not listeners[i].ended]
    for i in gone:
        sequences[i].cancelled = True
    heard = [len(listeners[i].events) for i in gone]
    core.step()
    assert not {id(sequences[i]) for i in gone} & {id(s) for s in core.scheduler.sequences}
    while core.busy:
        core.step()
    assert heard == [len(listeners[i].events) for i in gone]
    assert core.stats().cancelled == len(gone)
    for i, text in enumerate(expected("base")):
        assert i in gone or listeners[i].text == text
    assert_all_pages_back(core)


def test_everything_can_be_failed_at_once() -> None:
    core = core_of(running=4)
    listeners = begin(core, *MIXED)
    for _ in range(3):
        core.step()
    core.fail_all(EngineError("enough"))
    assert_all_pages_back(core)
    assert all(str(x.end) == "enough" for x in listeners if not isinstance(x.end, Finish))


def test_deltas_are_never_empty() -> None:
    for listener in run(core_of(), *MIXED):
        assert all(event.text for event in listener.events if isinstance(event, Delta))


def test_a_choice_that_breaks_ends_its_own_answer_alone(monkeypatch) -> None:
    def broken(*_):
        raise RuntimeError("invalid distribution")

    core = core_of()
    warm = Request(prompt_of([], words=5, seed=9), Sampling(temperature=1.0))
    bad, good = begin(core, warm, MIXED[1])
    monkeypatch.setattr(core.scheduler.sequences[0].sampler, "choose", broken)
    while core.busy:
        core.step()
    assert isinstance(bad.end, EngineError)
    assert good.text == expected("base")[1]
    assert_all_pages_back(core)


def test_an_answer_does_not_hold_the_pictures_that_are_in_the_cache() -> None:
    core = core_of(picture_bytes=0)
    begin(core, MIXED[0])
    (sequence,) = core.scheduler.sequences
    while not sequence.answered:
        core.step()
    assert not sequence._rows
