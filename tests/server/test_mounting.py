"""The page beside the API: its addresses, those that are neither's, and what it may name."""

import gc
import re
import socket
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sent import png
from served import serving

pytestmark = pytest.mark.filterwarnings("ignore")  # of the page's framework about its own parts


@pytest.fixture(scope="module")
def served(assistant):
    pytest.importorskip("gradio", reason="gradio is not installed: pip install 'vl2[web]'")
    from vl2.server.page.mounting import mount

    with serving(assistant, mount) as running:
        yield running
    gc.collect()  # what the page's framework left open, while warnings of it are ignored


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing"])
def test_below_v1_everything_is_the_api(served, path):
    with served.client() as client:
        answer = client.get(path)
    assert answer.status_code == 404
    assert "nothing at this address" in answer.json()["error"]["message"]


CLOSED = [
    ("GET", "/gradio_api/file=/etc/passwd"),
    ("GET", "/gradio_api/file=http://93.184.216.34/a.png"),
    ("GET", "/gradio_api/file=https:/93.184.216.34/a.png"),
    ("GET", "/gradio_api/file=FOLDER/../../etc/passwd"),
    ("GET", "/gradio_api/file=FOLDER/..%2f..%2fetc/passwd"),
    ("GET", "/gradio_api/file/etc/passwd"),
    ("GET", "/gradio_api/proxy=http://93.184.216.34/a.png"),
    ("GET", "/gradio_api/openapi.json"),
    ("GET", "/gradio_api/run-history/buckets"),
    ("GET", "/monitoring"),
    ("GET", "/monitoring/summary"),
    ("POST", "/gradio_api/process_recording"),
    ("POST", "/gradio_api/vibe-edit/"),
    ("POST", "/gradio_api/component_server"),
    ("POST", "/gradio_api/call/ask"),
    ("GET", "/gradio_api/queue/join"),
    ("DELETE", "/"),
]


@pytest.fixture
def folder(served):
    """Where uploaded pictures lie."""
    with served.client() as client:
        (path,) = client.post("/gradio_api/upload", files={"files": ("a.png", png(3, 3))}).json()
    return path.rsplit("/", 2)[0]


@pytest.fixture
def asked(monkeypatch):
    """Hosts of elsewhere whose addresses the server looked up."""
    found, real = [], socket.getaddrinfo

    def look_up(host, *args, **options):
        if host == "127.0.0.1":
            return real(host, *args, **options)
        found.append(host)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return found


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_what_the_page_does_not_need_is_closed(served, folder, asked, method, path):
    with served.client() as client:
        answer = client.request(method, path.replace("FOLDER", folder), json={})
    assert answer.status_code == 404
    assert "nothing at this address" in answer.json()["error"]["message"]
    assert asked == []


@pytest.mark.parametrize(
    "path", ["http://93.184.216.34/a.png", "HTTP://a.example/a.png", "/etc/passwd", "../a.png"]
)
@pytest.mark.parametrize("where", ["queue/join", "run/predict"])
def test_the_page_names_no_file_or_address_of_elsewhere(served, asked, path, where):
    """The framework would fetch it before the page's own code sees it."""
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    body = {
        "data": [{"text": "x", "files": [file]}, None, 0, 1, 9, "", 1],
        "fn_index": 0,
        "session_hash": "abc",
    }
    with served.client() as client:
        answer = client.post(f"/gradio_api/{where}", json=body)
    assert answer.status_code == 400
    assert "only files that were uploaded" in answer.json()["error"]["message"]
    assert asked == []


FOREIGN = ["https://evil.example", "null", "", "http://[", "http://127.0.0.1.evil.example"]


@pytest.mark.parametrize("origin", FOREIGN)
def test_other_sites_send_nothing_to_the_page(served, folder, origin):
    before = set(Path(folder).iterdir())
    with served.client(headers={"Origin": origin}) as client:
        uploaded = client.post("/gradio_api/upload", files={"files": ("b.png", png(4, 4))})
        joined = client.post("/gradio_api/queue/join", json={})
    assert uploaded.status_code == joined.status_code == 403
    assert "Only the page itself" in uploaded.json()["error"]["message"]
    assert set(Path(folder).iterdir()) == before


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "https://localhost"])
def test_the_page_sends_what_it_likes(served, origin):
    host = origin.partition("//")[2]
    with served.client(headers={"Origin": origin, "Host": host.partition(":")[0]}) as client:
        answer = client.post("/gradio_api/upload", files={"files": ("b.png", png(4, 4))})
    assert answer.status_code == 200


class Named(HTMLParser):
    """What the elements of a document name in their attributes."""

    def __init__(self, text):
        super().__init__()
        self.values = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.values += [value for _, value in attrs if value]


def test_the_document_names_no_other_site(served):
    with served.client() as client:
        answer = client.get("/")
        assert len(answer.content) == int(answer.headers["content-length"])
        assert client.head("/").status_code == 200
    named = Named(answer.text).values
    assert any("assets/" in value for value in named)
    foreign = [value for value in named if re.match(r"\s*(?:[a-z]+:)?//", value, re.IGNORECASE)]
    assert foreign == []
    assert "og:image" not in answer.text
    # Texts of scripts may name others (the framework's examples), but load nothing from there.
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_an_uploaded_page_is_not_shown_as_one(served):
    with served.client() as client:
        for name in ("a.html", "a.svg"):
            files = {"files": (name, b"<svg onload='alert(1)'><script>alert(1)</script></svg>")}
            (path,) = client.post("/gradio_api/upload", files=files).json()
            shown = client.get(f"/gradio_api/file={path}")
            assert shown.headers["content-disposition"].startswith("attachment")
