"""Who gets into the next step, with how many tokens, and on which pages."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from vl2.engine.limits import Limits
from vl2.engine.pages import PagePool
from vl2.engine.sequence import Sequence
from vl2.engine.storage import BLOCK


@dataclass(slots=True)
class Work:
    """What to do in a step.

    Attributes:
        spans: conversations and how many of their tokens go through the model.
        seeing: a conversation whose next picture has to be encoded further.
        tiles: how many tiles of it at most.
    """

    spans: list[tuple[Sequence, int]] = field(default_factory=list)
    seeing: Sequence | None = None
    tiles: int = 0


class Scheduler:
    """Keeps the order of arrival, shares out steps and pages.

    Every answer that is being written gets a token in every step. What is left of the step goes to
    prompts, the earliest first. When pages run out the latest arrivals give theirs back and wait;
    later their tokens, those of the answer included, go through the model again. The earliest is
    never put back, so there is always progress.

    Args:
        limits: how much goes on at once.
        pool: the pages.
    """

    def __init__(self, limits: Limits, pool: PagePool) -> None:
        self._limits = limits
        self.pool = pool
        self.running: list[Sequence] = []
        self._waiting: list[tuple[int, Sequence]] = []
        self.preempted = 0

    @property
    def waiting(self) -> int:
        """Requests that have no pages yet, or none any more."""
        return len(self._waiting)

    @property
    def sequences(self) -> list[Sequence]:
        """All that are worked on or waiting."""
        return [*self.running, *(sequence for _, sequence in self._waiting)]

    def add(self, sequence: Sequence) -> None:
        """Queue a request, in its place by arrival."""
        heapq.heappush(self._waiting, (sequence.number, sequence))

    def remove(self, sequence: Sequence) -> None:
        """Forget a request and take its pages back."""
        if sequence in self.running:
            self.running.remove(sequence)
            self._take_back(sequence)
        else:
            self._waiting = [entry for entry in self._waiting if entry[1] is not sequence]
            heapq.heapify(self._waiting)

    def plan(self) -> Work:
        """Share out the next step; pages are there for all that it names."""
        work = Work()
        for sequence in list(self.running):
            if _is_writing(sequence) and sequence in self.running and self._reserve(sequence):
                work.spans.append((sequence, 1))
        # A later one may have lost its pages to an earlier one.
        work.spans = [entry for entry in work.spans if entry[0] in self.running]
        work.spans.sort(key=lambda entry: entry[0].computed)
        shared = bool(work.spans)
        work.tiles = 1 if shared else self._limits.tiles
        budget = self._limits.shared_step_tokens if shared else self._limits.step_tokens
        for sequence in self.running:
            if budget and not _is_writing(sequence):
                budget = self._share(work, sequence, budget)
        while budget and self._waiting and len(self.running) < self._limits.running:
            sequence = self._waiting[0][1]
            if not self._admit(sequence):
                break
            heapq.heappop(self._waiting)
            self.running.append(sequence)
            budget = self._share(work, sequence, budget)
        return work

    def publish(self, sequence: Sequence, computed: int) -> None:
        """Note that more tokens are in the cache, and let others share the pages they filled."""
        first = sequence.computed // BLOCK
        sequence.computed = computed
        for index in range(first, computed // BLOCK):
            self.pool.publish(sequence.pages[index], sequence.key(index))

    def _share(self, work: Work, sequence: Sequence, budget: int) -> int:
        """Give a prompt what is left of the step; returns what then is left."""
        if sequence.missing_picture() is not None:
            work.seeing = sequence
            return 0
        count = min(budget, sequence.remaining)
        work.spans.append((sequence, count))
        return budget - count

    def _admit(self, sequence: Sequence) -> bool:
        """Find pages for all tokens of a waiting request, shared ones where others began alike."""
        # At least the last token goes through the model, for something must tell what comes next.
        for index in range((len(sequence.tokens) - 1) // BLOCK):
            page = self.pool.share(sequence.key(index))
            if page is None:
                break
            sequence.pages.append(page)
        sequence.computed = len(sequence.pages) * BLOCK
        missing = -(-len(sequence.tokens) // BLOCK) - len(sequence.pages)
        # A page beyond for each running answer, or one of them would soon be put back.
        if missing + len(self.running) > self.pool.available:
            self._take_back(sequence)
            return False
        if sequence.answered == 0:
            sequence.reused = sequence.computed
        self._extend(sequence, missing)
        return True

    def _extend(self, sequence: Sequence, count: int) -> None:
        for _ in range(count):
            page = self.pool.take()
            assert page is not None
            sequence.pages.append(page)

    def _reserve(self, sequence: Sequence) -> bool:
        """See to a page for the next token of an answer; false if it was put back itself."""
        while len(sequence.pages) * BLOCK < len(sequence.tokens):
            page = self.pool.take()
            if page is not None:
                sequence.pages.append(page)
                continue
            latest = max(self.running, key=lambda other: other.number)
            self._put_back(latest)
            if latest is sequence:
                return False
        return True

    def _put_back(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self._take_back(sequence)
        sequence.drop_rows()
        self.add(sequence)
        self.preempted += 1

    def _take_back(self, sequence: Sequence) -> None:
        self.pool.release(sequence.pages)
        sequence.pages.clear()
        sequence.computed = 0


def _is_writing(sequence: Sequence) -> bool:
    return sequence.remaining == 1 and sequence.missing_picture() is None
