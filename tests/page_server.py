"""A server that reads pages in the shape of OpenAI's API: it says what the picture's pixels are.

Its only model is called `pages`.

Workers are processes, so a stub reader cannot be handed to them; a server can be anywhere.
"""

import base64
import contextlib
import hashlib
import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import PIL.Image


class PageServer(ThreadingHTTPServer):
    """Answers after `delay` seconds; keeps the answers that it began; `on_page` may do more."""

    daemon_threads = True

    def __init__(self, delay=0.0, on_page=lambda said: None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.delay, self.on_page, self.said = delay, on_page, []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request, client_address):
        pass  # a client that was killed


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self._answer({"data": [{"id": "pages"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        url = body["messages"][0]["content"][0]["image_url"]["url"]
        said = words_about(PIL.Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))
        self.server.said.append(said)
        self.server.on_page(said)
        time.sleep(self.server.delay)
        choice = {"message": {"content": said}, "finish_reason": "stop"}
        self._answer({"choices": [choice], "usage": {"prompt_tokens": 3}})

    def _answer(self, value):
        answer = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        pass


def words_about(picture):
    return f"{picture.size} {hashlib.sha256(picture.tobytes()).hexdigest()[:12]}"


@contextlib.contextmanager
def serving(**settings):
    server = PageServer(**settings)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
