"""Which pages of the cache belong to whom, and which can be used again.

Counting only; the numbers themselves lie in `vl2.engine.storage`. A full page may be published
under a key that stands for its tokens and all before them; another conversation that begins alike
then shares it. A published page that nobody holds any more stays until its place is needed, the
longest unused first.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import numpy as np


class PagePool:
    """The pages 1 to `count`; page 0 is left to stand for nothing.

    Args:
        count: how many there are.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        # The lowest number is taken first: a lone conversation gets neighbours, and memory that was
        # never touched costs nothing.
        self._free = list(range(count, 0, -1))
        self._holders = [0] * (count + 1)
        self._key_of: dict[int, bytes] = {}
        self._page_of: dict[bytes, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def available(self) -> int:
        """Pages that can be taken."""
        return len(self._free) + len(self._idle)

    @property
    def idle(self) -> int:
        """Pages that nobody holds but that can still be shared."""
        return len(self._idle)

    @property
    def held(self) -> int:
        """Pages that somebody holds."""
        return self.count - self.available

    def take(self) -> int | None:
        """A page to write to; None if all are held."""
        if self._free:
            page = self._free.pop()
        elif self._idle:
            page, _ = self._idle.popitem(last=False)
            del self._page_of[self._key_of.pop(page)]
        else:
            return None
        self._holders[page] = 1
        return page

    def share(self, key: bytes) -> int | None:
        """The page that was published under a key, now held once more; None if there is none."""
        page = self._page_of.get(key)
        if page is not None:
            self._idle.pop(page, None)
            self._holders[page] += 1
        return page

    def publish(self, page: int, key: bytes) -> None:
        """Let others share a held page, which must not be written to any more."""
        if key not in self._page_of and page not in self._key_of:
            self._key_of[page], self._page_of[key] = key, page

    def is_published(self, page: int) -> bool:
        """Whether others may share a page."""
        return page in self._key_of

    def release(self, pages: Iterable[int]) -> None:
        """Give back pages that were taken or shared, in the order of their tokens."""
        # The last tokens are forgotten first: a beginning is worth more to others.
        for page in reversed(list(pages)):
            self._holders[page] -= 1
            if self._holders[page]:
                continue
            if page in self._key_of:
                self._idle[page] = None
            else:
                self._free.append(page)


def next_key(
    previous: bytes, tokens: Sequence[int], pictures: Sequence[tuple[bytes, int]]
) -> bytes:
    """The key of a page.

    Args:
        previous: key of the page before, empty for the first.
        tokens: the token ids on the page.
        pictures: of each picture on the page its content and which of its rows comes first here.
    """
    digest = hashlib.blake2b(previous, digest_size=16)
    digest.update(np.asarray(tokens, dtype=np.int64).tobytes())
    for content, row in pictures:
        digest.update(content)
        digest.update(row.to_bytes(8, "little"))
    return digest.digest()
