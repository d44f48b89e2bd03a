"""Schemas that would keep the server busy are refused, and nobody else waits for them."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest
from acted import acted
from sent import asking

from vl2.errors import InputError
from vl2.server import schemas
from vl2.server.schemas import Schemas

pytest.importorskip("llguidance")

ENDLESS = {"allOf": [{"type": "string", "pattern": f".*{digit}.*"} for digit in range(40)]}
LONG = {"type": "integer", "multipleOf": 9_999_991}


def check(tried, schema):
    return asyncio.run(tried.check(schema))


@pytest.mark.parametrize("schema", [ENDLESS, LONG])
def test_a_schema_that_takes_too_long_is_refused_in_time(schema):
    start = time.monotonic()
    with pytest.raises(InputError, match=r"takes more than 0\.7 seconds"):
        check(Schemas(seconds=0.7), schema)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"enum": list(range(3000))}])
def test_a_schema_is_tried_once(schema, monkeypatch):
    tried = Schemas(seconds=60)
    check(tried, schema)
    monkeypatch.setattr(subprocess, "run", None)
    check(tried, schema)


def test_only_so_many_schemas_are_remembered(monkeypatch):
    monkeypatch.setattr(schemas, "_KNOWN", 2)
    runs = []
    done = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: runs.append(1) or done)
    tried = Schemas()
    for number in (1, 2, 1, 3, 1, 2):
        check(tried, {"const": number})
    assert len(runs) == 4


@pytest.mark.skipif(sys.platform == "win32", reason="signals end no process there")
def test_a_schema_that_breaks_what_reads_it_is_refused(monkeypatch):
    broken = subprocess.CompletedProcess([], -11, b"", b"")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: broken)
    with pytest.raises(InputError, match="too much for what follows it"):
        check(Schemas(), {})


def test_a_trial_that_fails_by_itself_is_our_defect(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="could not be tried"):
        check(Schemas(), {})


def test_through_the_api_while_others_are_answered(serve):
    """The loop goes on while a schema is tried and while the engine takes a request."""
    assistant, engine = acted()
    taken = engine.stream

    def slowly(request, loop):
        time.sleep(1.5)
        return taken(request, loop)

    engine.stream = slowly
    served = serve(assistant)
    served.answering._schemas = Schemas(seconds=1.0)
    body = {
        "model": "nano",
        "messages": asking("Hello"),
        "max_tokens": 3,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "x", "schema": ENDLESS},
        },
    }
    found, waits = [], []

    def ask():
        with served.client() as client:
            found.append(client.post("/v1/chat/completions", json=body))
            body["response_format"] = {"type": "text"}
            found.append(client.post("/v1/chat/completions", json=body))

    asker = threading.Thread(target=ask)
    asker.start()
    with served.client() as client:
        while asker.is_alive():
            start = time.monotonic()
            assert client.get("/health").status_code == 200
            waits.append(time.monotonic() - start)
            time.sleep(0.02)
    asker.join()
    refused, answered = found
    assert refused.status_code == 400
    assert "make it simpler" in refused.json()["error"]["message"]
    assert answered.status_code == 200
    assert max(waits) < 1.2
