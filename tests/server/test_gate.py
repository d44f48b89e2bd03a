"""Who is let in, and how much memory their pictures may take."""

import json
import re

import pytest
from acted import acted, wait_for
from sent import asking, png

from vl2.server.gate import Gate
from vl2.server.refusals import Refusal

MIB = 2**20


def test_places_are_given_back():
    gate = Gate(2, 10)
    with gate.entered(2), pytest.raises(Refusal, match="2 answers are unfinished") as caught:
        gate.entered().__enter__()
    assert caught.value.status == 429
    with gate.entered():
        assert gate.inside == 1
    assert gate.inside == 0


def test_memory_is_given_back_with_the_place():
    gate = Gate(9, 10 * MIB)
    with gate.entered() as first:
        first.hold(4 * MIB)
        first.hold(3 * MIB)
        with gate.entered() as second, pytest.raises(Refusal) as caught:
            second.hold(4 * MIB)
        assert caught.value.status == 429
        assert int(caught.value.headers["Retry-After"]) >= 1
        assert "take 7.0 MiB of memory, these need 4.0 more, and 10.0 is all" in str(caught.value)
        assert gate.picture_bytes == 7 * MIB
    assert gate.picture_bytes == 0


def test_what_never_fits_is_not_to_come_again():
    with Gate(9, 10).entered() as place, pytest.raises(Refusal, match="send fewer") as caught:
        place.hold(11)
    assert caught.value.status == 400


def tiles_of(served, messages):
    """Memory of the tiles of a conversation."""
    pictures = [part for part in messages[0]["content"] if part["type"] == "image_url"]
    tiling = served.answering.assistant.processor.tiling
    each = tiling.grid(50, 50).n_tiles if len(pictures) <= 2 else 2
    return len(pictures) * each * 3 * tiling.tile_size**2 * 4


def test_pictures_of_waiting_answers_are_limited_together(serve):
    """Before anything is decoded, whoever asks; and their memory is free when they have left."""
    assistant, engine = acted()
    picture = png(50, 50)
    messages = asking("What?", picture, picture)
    served = serve(assistant)
    needed = tiles_of(served, messages)
    served = serve(assistant, picture_bytes=needed * 3 // 2)
    body = {"model": "nano", "messages": messages, "max_tokens": 100_000, "stream": True}
    with served.client() as client:
        with client.stream("POST", "/v1/chat/completions", json=body) as first:
            assert first.status_code == 200
            assert wait_for(lambda: engine.words > 2)
            assert served.answering.gate.picture_bytes == needed
            second = client.post("/v1/chat/completions", json={**body, "stream": False})
            assert second.status_code == 429
            assert int(second.headers["Retry-After"]) >= 1
            assert second.json()["error"]["type"] == "rate_limit_error"
            shown = re.search(
                r"^vl2_picture_bytes (.*)$", client.get("/metrics").text, re.MULTILINE
            )
            assert float(shown[1]) == needed
            text = {**body, "messages": asking("Hello"), "max_tokens": 3, "stream": False}
            assert client.post("/v1/chat/completions", json=text).status_code == 200
        assert wait_for(lambda: served.answering.gate.picture_bytes == 0)
        body |= {"max_tokens": 3, "stream": False, "n": 3}
        assert client.post("/v1/chat/completions", json=body).status_code == 200
        body["messages"] = asking("What?", *[picture] * 16)
        never = client.post("/v1/chat/completions", json=body)
    assert never.status_code == 400
    assert "send fewer" in json.loads(never.text)["error"]["message"]
    assert served.answering.gate.picture_bytes == 0
