"""JSON Schemas of clients are tried where they can be stopped.

A few lines of schema can keep the library that follows them busy for hours, and nothing ends it but
the end of its process. So a schema that was not seen before is first read in a process of its own,
within a limit of time.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from vl2.engine.constraints import ITEMS_IN_ROW, grammar
from vl2.errors import InputError

_SECONDS = 5.0
_KNOWN = 256
_AT_ONCE = 2


class Schemas:
    """Tells schemas that can be followed from those that take too long.

    Args:
        seconds: how long one may take to be read, the start of a process included.
    """

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._trying = ThreadPoolExecutor(_AT_ONCE, "try-schema")
        self._known: OrderedDict[bytes, None] = OrderedDict()

    async def check(self, schema: Mapping[str, Any]) -> None:
        """Refuse a schema that takes too long; whether it makes sense is told elsewhere.

        Raises:
            InputError: it takes too long, or the library breaks on it.
            MissingExtraError: llguidance is not installed.
        """
        text = grammar("json_schema", json.dumps(schema))
        key = hashlib.blake2b(text.encode(), digest_size=16).digest()
        if key not in self._known:
            await asyncio.get_running_loop().run_in_executor(self._trying, self._try, text)
        self._known[key] = None
        self._known.move_to_end(key)
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)

    def _try(self, text: str) -> None:
        command = [sys.executable, "-m", "vl2.server.trial", str(ITEMS_IN_ROW)]
        try:
            tried = subprocess.run(
                command,
                input=text.encode(),
                capture_output=True,
                timeout=self._seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise InputError(
                f"The schema takes more than {self._seconds:g} seconds to be understood: make it "
                "simpler."
            ) from error
        if tried.returncode < 0:
            raise InputError("The schema is too much for what follows it: make it simpler.")
        if tried.returncode > 0:
            raise RuntimeError(f"A schema could not be tried: {tried.stderr.decode()[-500:]}")
