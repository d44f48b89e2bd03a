"""Pages: taken, shared, kept, taken again; none twice, none lost."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from vl2.engine.pages import PagePool, next_key


def test_the_lowest_page_comes_first_and_never_page_zero() -> None:
    pool = PagePool(3)
    assert [pool.take() for _ in range(4)] == [1, 2, 3, None]
    pool.release([2, 3])
    assert pool.take() == 2


def test_a_published_page_can_be_shared_until_it_is_needed() -> None:
    pool = PagePool(2)
    page = pool.take()
    pool.publish(page, b"a")
    assert pool.share(b"a") == page
    pool.release([page])
    assert pool.held == 1
    pool.release([page])
    assert (pool.held, pool.idle, pool.available) == (0, 1, 2)
    assert pool.share(b"a") == page
    pool.release([page])
    assert {pool.take(), pool.take()} == {1, 2}
    assert pool.share(b"a") is None


def test_the_first_to_publish_is_the_one_that_is_shared() -> None:
    pool = PagePool(2)
    first, second = pool.take(), pool.take()
    pool.publish(first, b"a")
    pool.publish(second, b"a")
    assert pool.share(b"a") == first
    assert not pool.is_published(second)


def test_ends_are_forgotten_before_beginnings() -> None:
    pool = PagePool(3)
    pages = [pool.take() for _ in range(3)]
    for page in pages:
        pool.publish(page, bytes([page]))
    pool.release(pages)
    assert pool.take() == pages[2]
    assert pool.share(bytes([pages[0]])) == pages[0]


def test_keys_tell_apart_what_must_not_be_shared() -> None:
    keys = {
        next_key(b"", [1, 2], []),
        next_key(b"", [2, 1], []),
        next_key(b"x", [1, 2], []),
        next_key(b"", [1, 2], [(b"picture", 0)]),
        next_key(b"", [1, 2], [(b"picture", 1)]),
        next_key(b"", [1, 2], [(b"another", 0)]),
    }
    assert len(keys) == 6
    assert next_key(b"x", [1, 2], [(b"p", 3)]) == next_key(b"x", (1, 2), [(b"p", 3)])


class Pages(RuleBasedStateMachine):
    """Conversations that take, publish, share and release, beside a plain account of it."""

    @initialize(count=st.integers(1, 6))
    def begin(self, count: int) -> None:
        self.pool, self.held = PagePool(count), []

    @rule()
    def take(self) -> None:
        room = len(set(self.held)) < self.pool.count
        page = self.pool.take()
        assert (page is not None) == room
        if page is not None:
            assert page not in self.held
            self.held.append(page)

    @rule(key=st.integers(0, 3), which=st.integers(0, 9))
    def publish(self, key: int, which: int) -> None:
        if self.held:
            self.pool.publish(self.held[which % len(self.held)], bytes([key]))

    @rule(key=st.integers(0, 3))
    def share(self, key: int) -> None:
        page = self.pool.share(bytes([key]))
        if page is not None:
            self.held.append(page)

    @rule(which=st.integers(0, 9))
    def release(self, which: int) -> None:
        if self.held:
            self.pool.release([self.held.pop(which % len(self.held))])

    @invariant()
    def account(self) -> None:
        assert self.pool.held == len(set(self.held))
        free, idle = set(self.pool._free), set(self.pool._idle)
        assert free | idle | set(self.held) == set(range(1, self.pool.count + 1))
        assert not free & idle
        assert not (free | idle) & set(self.held)


Pages.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestPages = Pages.TestCase
