"""By which names a server may be called: a web site must not borrow a browser to reach it."""

import socket

import pytest
from acted import acted
from served import serving

from vl2.errors import InputError
from vl2.server.names import called, canonical
from vl2.server.settings import Settings

LOCAL = ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.9.9.9", "[::1]", "localhost:99"]
FOREIGN = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.example:8000",
    "10.1.2.3",
    "0.0.0.0",
    "[::2]",
    "127.0.0.1@evil.example",
    "127.0.0.1:80:evil.example",
    "[127.0.0.1].evil.example",
    "localhost evil.example",
    "2130706433",
    "",
    ":8000",
    "\xe4.example",
]


def status(client, host, path="/health"):
    # As bytes: the client would not write some of these.
    return client.get(path, headers={"Host": host.encode("latin-1")}).status_code


@pytest.fixture(scope="module")
def local():
    with serving(acted()[0]) as served, served.client() as client:
        yield client


@pytest.mark.parametrize("host", LOCAL)
def test_names_of_this_machine(local, host):
    assert status(local, host) == 200


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("path", ["/health", "/v1/models", "/metrics", "/"])
def test_names_of_others(local, host, path):
    assert status(local, host, path) == 421


def test_a_wrong_name_is_told(local):
    answer = local.get("/v1/models", headers={"Host": "evil.example"})
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.json()["error"]["message"] == (
        "This server is not called 'evil.example': use its address, or let the operator name that "
        "host with --allow-hosts."
    )


def test_a_long_name_is_cut(local):
    answer = local.get("/health", headers={"Host": "a" * 10_000})
    assert answer.status_code == 421
    assert len(answer.text) < 1000


@pytest.mark.parametrize("lines", [b"", b"Host: localhost\r\nHost: evil.example\r\n"])
def test_a_request_has_one_name(local, lines):
    port = local.base_url.port
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET /health HTTP/1.0\r\nConnection: close\r\n" + lines + b"\r\n")
        head = connection.recv(100)
    assert head.split()[1] in (b"400", b"421")


def test_named_hosts_are_answered(serve):
    served = serve(acted()[0], hosts=("vl2.example.org", "10.1.2.3", "FD00::1"))
    with served.client() as client:
        for host in ("vl2.example.org", "VL2.Example.org:443", "10.1.2.3", "[fd00::1]:80"):
            assert status(client, host) == 200
        for host in ("example.org", "a.vl2.example.org", "10.1.2.4", "fd00::1"):
            assert status(client, host) == 421


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_who_listens_everywhere_may_be_called_by_every_address_but_by_no_name(serve, host):
    with serve(acted()[0], host=host).client() as client:
        assert status(client, "10.1.2.3") == status(client, "[fd00::1]") == 200
        assert status(client, "evil.example") == 421


def test_the_name_of_the_address_that_is_listened_on(serve):
    with serve(acted()[0], host="gpu-box.lan").client() as client:
        assert status(client, "gpu-box.lan") == 200
        assert status(client, "gpu-box") == 421


def test_a_key_does_not_change_it(serve):
    key = {"Authorization": "Bearer secret"}
    with serve(acted()[0], host="0.0.0.0", api_key="secret").client(headers=key) as client:
        assert status(client, "evil.example", "/v1/models") == 421
        assert status(client, "10.1.2.3", "/v1/models") == 200


def test_a_named_origin_does_not_let_a_name_in(serve):
    """The answer to a browser's question in advance comes after the look at the name."""
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    with serve(acted()[0], origins=("http://evil.example",)).client() as client:
        refused = client.options("/v1/models", headers={**asked, "Host": "evil.example"})
    assert refused.status_code == 421


@pytest.mark.parametrize(
    "host",
    [
        "",
        "*",
        "http://a.example",
        "a.example:80",
        "a.example/",
        "a b",
        ".a",
        "-a",
        "a" * 300,
        "[::1",
    ],
)
def test_hosts_that_are_none(host):
    assert canonical(host) is None
    with pytest.raises(InputError, match="--allow-hosts takes a name or an address"):
        Settings(hosts=(host,))


def test_spellings_of_one_host_are_one():
    assert canonical("A.Example.") == canonical("a.example") == called("a.EXAMPLE:80")
    assert canonical("[0:0::1]") == canonical("::1") == called("[::1]:8000")
    assert canonical("my_service") == "my_service"
    assert called("::1") is None  # which part of it would be the port?
