"""A model here and a model behind a server are asked the same and read the same."""

import base64
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import PIL.Image
import pytest
from scripted import scripted

from vl2.documents import readers
from vl2.documents.readers import (
    Identity,
    LazyReader,
    LocalReader,
    RefusedError,
    RemoteReader,
    UnopenedReaderError,
    Usage,
)
from vl2.engine.remote import ChatServer, ServerError
from vl2.engine.sampling import JSON_SPACING
from vl2.errors import EngineError, InputError
from vl2.processing.processor import DeepseekVLV2Processor
from vl2.processing.tiling import Tiling

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
        self.lists = (404, "")
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.headers.append(dict(self.headers))
        self._answer(*self.server.lists)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(json.loads(body))
        self.server.headers.append(dict(self.headers))
        self._answer(*self.server.answers.pop(0))

    def _answer(self, status, text):
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


ERRORS = [
    ('{"error": {"message": "It is too long.", "type": "x"}}', "It is too long"),
    ('{"error": "It is too long."}', "It is too long"),
    ('{"object": "error", "message": "It is too long"}', "It is too long"),
    ('{"detail": "Not Found"}', "Not Found"),
    ('{"detail": [{"loc": "x"}]}', '{"detail": [{"loc": "x"}]}'),
    ("<b>bad\ngateway</b>", "<b>bad gateway</b>"),
    ("", "nothing"),
]


@pytest.mark.parametrize(("body", "said"), ERRORS)
def test_what_a_server_says_is_told_without_the_json_around_it(server, body, said):
    server.answers = [(500, body)]
    with pytest.raises(ServerError) as caught:
        ChatServer(server.url).complete({})
    assert str(caught.value) == f"{server.url}/chat/completions answered with 500: {said}"


def test_a_server_that_lists_the_model_is_asked_nothing_else(server):
    server.lists = (200, '{"data": [{"id": "big"}, {"id": "vl2"}]}')
    ChatServer(server.url, "key").check("vl2")
    assert server.headers[0]["Authorization"] == "Bearer key"
    with pytest.raises(InputError, match=r"no model 'nano': .*'big', 'vl2'"):
        ChatServer(server.url).check("nano")
    assert server.bodies == []


def test_a_server_without_a_list_is_asked_for_one_token(server):
    for lists in ((404, "no"), (200, "<html>"), (200, '{"data": []}')):
        server.lists, server.answers = lists, [(200, completion("a"))]
        ChatServer(server.url).check("vl2")
        assert (server.bodies[-1]["model"], server.bodies[-1]["max_tokens"]) == ("vl2", 1)
    server.answers = [(503, "later")]
    ChatServer(server.url).check("vl2")
    server.answers = [(404, '{"detail": "Not Found"}')]
    with pytest.raises(ServerError, match=r"404: Not Found\. Does .*/v1"):
        ChatServer(server.url).check("vl2")


def test_a_key_that_is_refused_is_told_at_once(server):
    server.lists = (401, '{"error": {"message": "Wrong key"}}')
    with pytest.raises(ServerError, match=r"401: Wrong key\. Put the key into VL2_API_KEY"):
        ChatServer(server.url).check("vl2")


def test_the_embedded_model_is_known_by_its_name(nano):
    own = DeepseekVLV2Processor.from_pretrained(nano).tiling
    server = ChatServer("http://localhost:1/v1")
    assert RemoteReader(Identity("vllm", "nano", None), server).tiling == own
    assert RemoteReader(Identity("vllm", "tiny", None), server).tiling == Tiling() != own


def test_vllm_is_told_how_json_is_spaced(server):
    server.answers = [(200, completion("{}"))]
    reader = RemoteReader(Identity("vllm", "m", None), ChatServer(server.url))
    reader.read(PICTURE, "What?", 5, '{"type": "object"}')
    schema = server.bodies[0]["response_format"]["json_schema"]["schema"]
    assert schema == {"type": "object", "x-guidance": JSON_SPACING}


def test_a_lazy_reader_is_opened_once_and_not_again_when_it_cannot_be(server):
    opened = []

    def opening():
        opened.append(1)
        server.answers = [(200, completion("a"))] * 8
        return RemoteReader(WHO, ChatServer(server.url))

    lazy = LazyReader(Identity("local", "m", None), opening)
    assert (lazy.identity.engine, opened) == ("local", [])
    with ThreadPoolExecutor(8) as pool:
        replies = [pool.submit(lazy.read, PICTURE, "What?", 5, None) for _ in range(8)]
        assert {reply.result().text for reply in replies} == {"a"}
    assert (lazy.identity, opened) == (WHO, [1])

    def failing():
        opened.append(2)
        raise EngineError("no memory")

    broken = LazyReader(WHO, failing)
    for _ in range(2):
        with pytest.raises(UnopenedReaderError, match="no memory"):
            _ = broken.tiling
    assert opened == [1, 2]
    broken.close()


def test_a_server_needs_an_address():
    with pytest.raises(InputError, match="address"):
        ChatServer("localhost:8000")
