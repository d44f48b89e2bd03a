"""A model here and a model behind a server are asked the same."""

import base64
import io
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import PIL.Image
import pytest
from benchmark_files import SMALL
from golden import picture
from scripted import scripted

from vl2.engine.remote import ServerError
from vl2.errors import InputError
from vl2.evals.benchmarks.answering import LocalAnswerer, ServerAnswerer
from vl2.evals.benchmarks.questions import Question
from vl2.evals.benchmarks.rows import Row
from vl2.evals.benchmarks.table import TASKS

QUESTION = Question("1", "What?", (picture(SMALL),), ("x",))


def test_a_model_here_is_asked_greedily_with_the_benchmarks_tiles():
    assistant, engine = scripted("one", "two", "three")
    answerer = LocalAnswerer("scripted", assistant)
    tall = Question("2", "What?", (PIL.Image.new("RGB", (300, 5000)),), ())
    assert answerer.answer(QUESTION, TASKS["docvqa"]) == "one"
    assert answerer.answer(tall, TASKS["docvqa"]) == "two"
    assert answerer.answer(tall, TASKS["infovqa"]) == "three"
    first, nine, eighteen = engine.requests
    assert (first.sampling.temperature, first.sampling.max_tokens) == (0, 2048)
    assert nine.prompt.grids[0].rows == 9
    assert eighteen.prompt.grids[0].rows > 9
    assert assistant.processor.tiling.max_tiles == 9, "the model's own processor is as it was"
    assert answerer.name == "scripted"


@pytest.fixture
def server():
    """An OpenAI-compatible server that keeps what it is asked; `reply` is what it answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            running.asked.append((self.path, dict(self.headers), json.loads(body)))
            code, content = running.reply
            self.send_response(code)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.asked = []
    running.url = f"http://127.0.0.1:{running.server_port}/v1"
    running.reply = (200, json.dumps({"choices": [{"message": {"content": "yes"}}]}).encode())
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def test_a_server_is_asked_as_openai_is(server):
    answerer = ServerAnswerer(f"{server.url}/", "vl2", key="secret")
    assert answerer.answer(QUESTION, TASKS["docvqa"]) == "yes"
    ((path, headers, body),) = server.asked
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("vl2", 0, 2048)
    image, text = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "What?"}
    encoded = image["image_url"]["url"].removeprefix("data:image/png;base64,")
    assert PIL.Image.open(io.BytesIO(base64.b64decode(encoded))).size == (97, 61)
    assert answerer.name == f"vl2 at {server.url}/chat/completions"


def test_pictures_of_mmmu_and_data_urls(server):
    url = "data:image/png;base64,AAAA"
    question = Question(
        "1", "<image><image>\n <image 1> What?", (url, PIL.Image.new("L", (2, 2))), ()
    )
    short = replace(TASKS["mmmu"], max_tokens=5)
    ServerAnswerer(server.url, "vl2").answer(question, short)
    body = server.asked[0][2]
    assert body["max_tokens"] == 5
    first, _, text = body["messages"][0]["content"]
    assert first["image_url"]["url"] == url
    assert text["text"] == question.prompt


MMMU = {"id": "a", "question": "<image 2> or <image 1>?", "options": "['x', 'y']", "answer": "A"}


@pytest.mark.parametrize(
    ("task", "values"), [("mmmu", MMMU), ("docvqa", {**MMMU, "question": "?"})]
)
def test_a_server_sees_the_prompt_that_a_model_here_sees(server, task, values):
    """Not a line break more between the pictures, not a pixel less."""
    assistant, engine = scripted("yes")
    pictures = (picture(SMALL), picture("rgba.png"))
    (question,) = TASKS[task].ask(Row(1, values, pictures))
    LocalAnswerer("here", assistant).answer(question, TASKS[task])
    ServerAnswerer(server.url, "there").answer(question, TASKS[task])
    here = engine.requests[0].prompt
    there = assistant.processor.encode(server.asked[0][2]["messages"])
    assert there.token_ids.tolist() == here.token_ids.tolist()
    assert (there.pixel_values == here.pixel_values).all()


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((500, b"out of\nmemory"), "answered with 500: out of memory"),
        ((200, b"<html>"), "is no chat completion"),
        ((200, b'{"choices": []}'), "is no chat completion"),
        ((200, b'{"choices": [{"message": {"content": null}}]}'), "NoneType instead of text"),
    ],
)
def test_what_a_server_does_wrong_is_told(server, reply, message):
    server.reply = reply
    with pytest.raises(ServerError, match=message):
        ServerAnswerer(server.url, "vl2").answer(QUESTION, TASKS["docvqa"])


def test_addresses():
    for url in ("localhost:8000", "ftp://x/v1", ""):
        with pytest.raises(InputError, match="no address of a server"):
            ServerAnswerer(url, "vl2")
    with pytest.raises(ServerError, match="cannot be reached"):
        ServerAnswerer("http://127.0.0.1:1/v1", "vl2").answer(QUESTION, TASKS["docvqa"])
