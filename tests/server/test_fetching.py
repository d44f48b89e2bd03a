"""Addresses of pictures: who is asked, and who never is."""

import http.server
import io
import socket
import threading
import time

import PIL.Image
import pytest
from acted import acted
from sent import png

from vl2.errors import ImageError
from vl2.server import fetching
from vl2.server.fetching import aim, fetch, is_public
from vl2.server.settings import Settings

RESOLVED = fetching.resolved
ALLOWED = Settings(url_hosts=("a.example", "b.example:8080", "93.184.216.34"))


def public(host, port):
    return ["93.184.216.34"]


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("https://a.example/x.png", ("a.example", 443, "/x.png")),
        ("http://A.example/", ("a.example", 80, "/")),
        ("http://a.example", ("a.example", 80, "/")),
        ("http://a.example./x?y=1&z=%20#f", ("a.example", 80, "/x?y=1&z=%20")),
        ("http://b.example:8080/x%20y", ("b.example", 8080, "/x%20y")),
        ("http://93.184.216.34/x", ("93.184.216.34", 80, "/x")),
    ],
)
def test_allowed_hosts(url, where):
    target = aim(url, ALLOWED, public)
    assert (target.host, target.port, target.path) == where
    assert target.address == "93.184.216.34"


@pytest.mark.parametrize(
    "url",
    [
        "http://c.example/x.png",
        "http://b.example/x.png",
        "http://a.example:8080/x.png",
        "http://a.example.evil.example/",
        "http://evil.example/a.example",
        "http://a.example@evil.example/",
        "http://user:pass@a.example/",
        "http://evil.example#a.example",
        "http://evil.example\\@a.example/",
        "http://a.example\r\nHost: b/",
        "http://a.example:99999/",
        "http://a.example:x/",
        "http://[::1/",
        "http:///x.png",
        "http://ä.example/",
        "ftp://a.example/",
        "http://a.example\u3002evil/",
    ],
)
def test_refused_addresses(url):
    with pytest.raises(ImageError):
        aim(url, ALLOWED, public)


PRIVATE = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "2002:7f00:1::",
    "2002:a00:1::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address):
    assert not is_public(address)
    with pytest.raises(ImageError, match="private network"):
        aim("http://a.example/", ALLOWED, lambda host, port: ["93.184.216.34", address])


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111"])
def test_public_addresses(address):
    assert is_public(address)


def test_a_host_without_an_address(monkeypatch):
    def nowhere(*_, **__):
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    with pytest.raises(ImageError, match="has no address"):
        RESOLVED("a.example", 80)


def noise():
    """A picture that no encoding makes small."""
    buffer = io.BytesIO()
    PIL.Image.effect_noise((40, 40), 100).save(buffer, "PNG")
    return buffer.getvalue()


NOISE = noise()


class Pages(http.server.BaseHTTPRequestHandler):
    """A picture, a redirect, and some that do not end well."""

    def do_GET(self):
        pages = {
            "/good.png": self.good,
            "/noise.png": self.noise,
            "/moved.png": self.moved,
            "/large.png": self.large,
            "/slow.png": self.slow,
            "/short.png": self.short,
        }
        pages.get(self.path, self.absent)()

    def good(self):
        self.reply(200, png(5, 4))

    def noise(self):
        self.reply(200, NOISE)

    def moved(self):
        self.send_response(302)
        self.send_header("Location", "/good.png")
        self.end_headers()

    def large(self):
        self.reply(200, b"x" * 100_000)

    def slow(self):
        self.send_response(200)
        self.end_headers()
        for _ in range(100):
            try:
                self.wfile.write(b"x")
            except OSError:
                return
            time.sleep(0.05)

    def short(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x")

    def absent(self):
        self.reply(404, b"")

    def reply(self, status, data):
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def web():
    """Settings that allow a web server on this machine, and its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        host = f"localhost:{server.server_port}"
        yield (
            Settings(url_hosts=(host,), private_urls=True, max_body_bytes=50_000, body_seconds=0.5),
            f"http://{host}",
        )
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _first_family(monkeypatch):
    monkeypatch.setattr(fetching, "resolved", lambda host, port: ["127.0.0.1"])


def test_a_picture_is_fetched(web):
    settings, address = web
    assert fetch(f"{address}/good.png", settings) == png(5, 4)


@pytest.mark.parametrize(
    ("page", "what"),
    [
        ("moved", "answered 302"),
        ("absent", "answered 404"),
        ("large", "more than the allowed"),
        ("slow", "did not send the whole"),
        ("short", "did not send the whole"),
    ],
)
def test_what_is_no_picture_within_the_limits(web, page, what):
    settings, address = web
    start = time.monotonic()
    with pytest.raises(ImageError, match=what):
        fetch(f"{address}/{page}.png", settings)
    assert time.monotonic() - start < 4


def test_a_connection_that_comes_after_the_time_is_not_used(web, monkeypatch):
    settings, address = web
    connect = socket.create_connection

    def late(*args, **options):
        time.sleep(0.7)
        return connect(*args, **options)

    monkeypatch.setattr(socket, "create_connection", late)
    start = time.monotonic()
    with pytest.raises(ImageError, match="could not be fetched"):
        fetch(f"{address}/slow.png", settings)
    assert time.monotonic() - start < 4


def test_a_host_inside_is_not_asked_without_leave(web):
    settings, address = web
    host = address.removeprefix("http://")
    with pytest.raises(ImageError, match="private network"):
        fetch(f"{address}/good.png", Settings(url_hosts=(host,)))
    assert settings.private_urls


def test_a_name_that_changes_its_address_is_resolved_once(web, monkeypatch):
    """DNS rebinding: the second answer of the name server is never asked for."""
    settings, address = web
    answers = [["127.0.0.1"], ["192.0.2.1"]]
    monkeypatch.setattr(fetching, "resolved", lambda host, port: answers.pop(0))
    assert fetch(f"{address}/good.png", settings) == png(5, 4)
    assert len(answers) == 1


def test_pictures_of_one_request_are_limited_together(web, serve):
    settings, address = web
    limit = 2 * len(NOISE)
    hosts = settings.url_hosts
    served = serve(acted()[0], url_hosts=hosts, private_urls=True, max_body_bytes=limit)
    with served.client() as client:

        def ask(count):
            parts = [{"type": "image_url", "image_url": {"url": f"{address}/noise.png"}}] * count
            messages = [{"role": "user", "content": parts}]
            body = {"model": "nano", "messages": messages, "max_tokens": 2}
            return client.post("/v1/chat/completions", json=body)

        assert ask(2).status_code == 200
        refused = ask(3)
    assert refused.status_code == 400
    assert f"the allowed {limit} bytes together" in refused.json()["error"]["message"]
    assert served.answering.gate.picture_bytes == 0


def test_through_the_api(web, serve, assistant):
    settings, address = web
    served = serve(assistant, url_hosts=settings.url_hosts, private_urls=True)
    with served.client() as client:
        body = {"image": f"{address}/good.png", "phrase": "it", "max_tokens": 4}
        located = client.post("/v1/locate", json=body).json()
        assert (located["width"], located["height"]) == (5, 4)
        body["image"] = f"{address}/moved.png"
        assert "redirects" in client.post("/v1/locate", json=body).json()["error"]["message"]
