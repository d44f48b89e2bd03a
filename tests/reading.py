"""Readers that say what a test tells them to; also a program that reads with one, to be killed."""

import itertools
import os
import signal
import sys
import threading
import time
from pathlib import Path

from vl2.documents.desk import Desk
from vl2.documents.readers import Identity, Reply, Usage
from vl2.documents.run import plan, run
from vl2.documents.settings import Settings
from vl2.documents.tasks import read_text
from vl2.processing.tiling import Tiling

IDENTITY = Identity("local", "stub", "float32", "0")


class StubReader:
    """Answers with `say(picture, prompt)`; keeps what it was asked."""

    identity = IDENTITY

    def __init__(self, say=lambda picture, prompt: "words", tiling=None):
        self.say, self.tiling = say, tiling or Tiling()
        self.asked, self.closed = [], False
        self._lock = threading.Lock()

    def read(self, picture, prompt, max_tokens, schema):
        with self._lock:
            self.asked.append((picture.size, prompt, schema))
        said = self.say(picture, prompt)
        return said if isinstance(said, Reply) else Reply(said, Usage(10, 5, 3))

    def close(self):
        self.closed = True


def settings_of(*tasks, **changed):
    return Settings(tasks or (read_text(),), model="stub", **{"dpi": 40, **changed})


def read_all(paths, out, reader, settings, parallel=2, **options):
    """What `vl2 read` does between its options and its index."""
    desk = Desk(reader, settings, out, parallel=parallel, renderers=1, **options)
    try:
        return run(plan(paths, settings, out), desk.read, parallel)
    finally:
        desk.close()


def kill_at(count):
    """Kill this process where it is about to give a file its name for the `count`-th time."""
    replace, counting = Path.replace, itertools.count(1)

    def counted(self, target):
        if next(counting) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    Path.replace = counted


def main():
    """Read slowly: `reading.py OUT LOG FILE...`; a line in the log for each page that is asked."""
    out, log, *paths = map(Path, sys.argv[1:])
    if "KILL_AT" in os.environ:
        kill_at(int(os.environ["KILL_AT"]))

    def say(picture, prompt):
        with log.open("a") as file:
            file.write("x\n")
        time.sleep(0.03)
        return f"{picture.size} {sum(picture.resize((1, 1)).getpixel((0, 0)))}"

    read_all(paths, out, StubReader(say), settings_of(text_layer="ignore"))


if __name__ == "__main__":
    main()
