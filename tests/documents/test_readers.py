"""A model here and a model behind a server are asked the same and read the same."""

import base64
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import PIL.Image
import pytest
from scripted import scripted

from vl2.documents import readers
from vl2.documents.readers import (
    Identity,
    LocalReader,
    RefusedError,
    RemoteReader,
    Usage,
)
from vl2.engine.remote import ChatServer, ServerError
from vl2.errors import InputError

PICTURE = PIL.Image.new("RGB", (30, 20), "red")
WHO = Identity("openai", "vl2", None)


def completion(text, reason="stop", usage=None):
    choice = {"message": {"content": text}, "finish_reason": reason}
    return json.dumps({"choices": [choice], "usage": usage})


class Server(ThreadingHTTPServer):
    """Gives the answers that it is told, a status and a body each; keeps what it was sent."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.bodies, self.headers = [], [], []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(json.loads(body))
        self.server.headers.append(dict(self.headers))
        status, text = self.server.answers.pop(0)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    made = Server()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def test_a_local_model_is_asked_greedily():
    assistant, engine = scripted("The total is 12.", reason="length")
    reader = LocalReader(Identity("local", "m", "float32"), assistant)
    reply = reader.read(PICTURE, "What?", 50, None)
    assert (reply.text, reply.cut) == ("The total is 12.", True)
    sampling = engine.requests[0].sampling
    assert (sampling.temperature, sampling.max_tokens, sampling.json_schema) == (0, 50, None)
    assert reply.usage.image_tokens == 421
    assert reader.tiling == assistant.processor.tiling


def test_what_a_local_model_cannot_be_asked_is_refused():
    assistant, engine = scripted()
    engine.context = 100
    with pytest.raises(RefusedError, match="100"):
        LocalReader(WHO, assistant).read(PICTURE, "What?", 50, None)


def test_a_server_is_asked_in_the_words_of_its_api(server):
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 2,
        "prompt_tokens_details": {"image_tokens": 7},
    }
    server.answers = [(200, completion('{"total": "1"}', "length", usage))]
    reader = RemoteReader(WHO, ChatServer(server.url, "key"))
    reply = reader.read(PICTURE, "What?", 50, '{"type": "object"}')
    assert reply == readers.Reply('{"total": "1"}', Usage(9, 7, 2), cut=True)
    (body,) = server.bodies
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("vl2", 0, 50)
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    picture, text = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "What?"}
    data = picture["image_url"]["url"].removeprefix("data:image/png;base64,")
    assert PIL.Image.open(io.BytesIO(base64.b64decode(data))).tobytes() == PICTURE.tobytes()
    assert server.headers[0]["Authorization"] == "Bearer key"


@pytest.mark.parametrize(
    "usage", [None, [], {"prompt_tokens": "many"}, {"prompt_tokens_details": 3}]
)
def test_servers_that_tell_no_counts_are_read_all_the_same(server, usage):
    server.answers = [(200, completion("a", usage=usage))]
    reply = RemoteReader(WHO, ChatServer(server.url)).read(PICTURE, "What?", 5, None)
    assert reply == readers.Reply("a", Usage())


def test_a_busy_server_is_asked_again(server, monkeypatch):
    monkeypatch.setattr(readers, "_WAITS", (0.01, 0.01))
    server.answers = [(429, "later"), (503, "later"), (200, completion("at last"))]
    reader = RemoteReader(WHO, ChatServer(server.url))
    assert reader.read(PICTURE, "What?", 5, None).text == "at last"
    server.answers = [(503, "later")] * 3
    with pytest.raises(ServerError, match="503"):
        reader.read(PICTURE, "What?", 5, None)


@pytest.mark.parametrize(
    ("status", "error"), [(400, RefusedError), (413, RefusedError), (401, ServerError)]
)
def test_a_refusal_is_of_the_page_or_of_everything(server, status, error):
    server.answers = [(status, "too long")]
    with pytest.raises(error, match="too long"):
        RemoteReader(WHO, ChatServer(server.url)).read(PICTURE, "What?", 5, None)


def test_a_server_needs_an_address():
    with pytest.raises(InputError, match="address"):
        ChatServer("localhost:8000")
