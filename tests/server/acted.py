"""An engine that writes numbered words at a pace, and tells what became of each request."""

import asyncio
import itertools
import time

from golden import checkpoint

from vl2.engine import Assistant, Delta, Finish, Stats, Usage
from vl2.errors import EngineError
from vl2.processing.processor import DeepseekVLV2Processor

DEFECT = "a defect of the engine"


class ActedEngine:
    """Writes `max_tokens` words, `pace` seconds apart, and fails where it is told to.

    Args:
        pace: seconds for one word.
        word: what each word is.
        fails_at: the word before which an answer fails with an `EngineError`.
        defect_at: the word before which an answer fails with any other exception.
        pieces: what every answer consists of, instead of words.
    """

    context = 4096
    device = "cpu"
    dtype = "float32"

    def __init__(self, pace=0.002, word="word ", fails_at=None, defect_at=None, pieces=None):
        self.pace = pace
        self.word = word
        self.fails_at = fails_at
        self.defect_at = defect_at
        self.pieces = pieces
        self.begun = self.finished = self.ended = self.words = 0
        self.requests = []

    def begin_again(self, **options):
        """Be another one, which nobody has asked yet."""
        self.__init__(**options)

    def stats(self):
        return Stats()

    async def stream(self, request, loop=None):
        self.begun += 1
        self.requests.append(request)
        try:
            pieces = self.pieces or itertools.repeat(self.word, request.sampling.max_tokens)
            for index, piece in enumerate(pieces):
                if index == self.fails_at:
                    raise EngineError("The answer failed.")
                if index == self.defect_at:
                    raise ZeroDivisionError(DEFECT)
                await asyncio.sleep(self.pace)
                self.words += 1
                yield Delta(piece)
            self.finished += 1
            reason = "stop" if self.pieces else "length"
            images = int(request.prompt.image_mask.sum())
            yield Finish(reason, Usage(len(request.prompt), images, index + 1))
        finally:
            self.ended += 1


def acted(**options):
    """An assistant with such an engine, and the engine."""
    engine = ActedEngine(**options)
    processor = DeepseekVLV2Processor.from_pretrained(checkpoint("base"))
    return Assistant(engine, processor), engine


def wait_for(condition, seconds=5.0):
    """Wait until something is true; whether it ever was."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()
