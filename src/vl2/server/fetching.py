"""Pictures from the web, from hosts that the operator named and from nowhere else.

The request chooses the address, so it must not reach what only this machine can reach. A host must
be on the list; its name is resolved once, every address that it has must be a public one, and the
connection goes to the address that was checked, so a name server that changes its answer
(DNS rebinding) gains nothing. Redirects are not followed.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass

from vl2.errors import ImageError
from vl2.server.settings import Settings

_CHUNK = 2**16
_DEFAULT_PORTS = {"http": 80, "https": 443}
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")  # IPv4 inside IPv6, RFC 6052

Resolve = Callable[[str, int], list[str]]
"""From a host and a port to its addresses."""


@dataclass(frozen=True, slots=True)
class Target:
    """A picture's place: where to connect, and what to ask for there."""

    scheme: str
    host: str
    port: int
    address: str
    path: str


def aim(url: str, settings: Settings, resolve: Resolve) -> Target:
    """Check an address and resolve its host, once.

    Raises:
        ImageError: it is malformed, not on the list, or leads into the operator's own network.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError) as error:
        raise ImageError(f"The picture's address {url[:100]!r} is malformed.") from error
    host = (parts.hostname or "").rstrip(".")
    if parts.username is not None or not host or not url.isascii() or not url.isprintable():
        raise ImageError(f"The picture's address {url[:100]!r} is malformed.")
    named = host if port == _DEFAULT_PORTS[parts.scheme] else f"{host}:{port}"
    if named not in settings.url_hosts:
        raise ImageError(
            f"Pictures are not fetched from {named!r}: send the picture as a data: URL, or let the "
            "operator allow that host."
        )
    path = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = f"?{parts.query}" if parts.query else ""
    addresses = resolve(host, port)
    if not settings.private_urls and not all(map(is_public, addresses)):
        raise ImageError(f"The host {host!r} leads into a private network: it is not asked.")
    return Target(parts.scheme, host, port, addresses[0], path + query)


def is_public(address: str) -> bool:
    """Whether an IP address can be reached by anybody, whatever it is wrapped in."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if ip in _TRANSLATED:
            inner.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if not all(_is_public(each) for each in inner if each is not None):
            return False
    return _is_public(ip)


def _is_public(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def resolved(host: str, port: int) -> list[str]:
    """All addresses of a host.

    Raises:
        ImageError: it has none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ImageError(f"The host {host!r} has no address.") from error
    return [str(entry[4][0]) for entry in found]


def fetch(url: str, settings: Settings) -> bytes:
    """The bytes of a picture on the web; blocks until they are here.

    Raises:
        ImageError: the address is not allowed, or gives no picture within the limits.
    """
    target = aim(url, settings, resolved)
    connection = _Pinned(target, settings.body_seconds)
    # A host that sends a byte now and then would never run into the socket's own limit.
    deadline = threading.Timer(settings.body_seconds, connection.abort)
    deadline.daemon = True
    deadline.start()
    try:
        connection.request("GET", target.path, headers={"Accept": "image/*"})
        response = connection.getresponse()
        if response.status != 200:
            raise ImageError(
                f"{target.host!r} answered {response.status} for the picture; redirects are not "
                "followed: send the picture as a data: URL."
            )
        data = _read(response, settings.max_body_bytes)
        if connection.aborted or response.length:
            raise ImageError(
                f"{target.host!r} did not send the whole picture in {settings.body_seconds:g} "
                "seconds."
            )
        return data
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"The picture could not be fetched from {target.host!r}.") from error
    finally:
        deadline.cancel()
        connection.close()


def _read(response: http.client.HTTPResponse, limit: int) -> bytes:
    data = bytearray()
    while chunk := response.read(_CHUNK):
        data += chunk
        if len(data) > limit:
            raise ImageError(f"The picture has more than the allowed {limit} bytes.")
    return bytes(data)


class _Pinned(http.client.HTTPConnection):
    """A connection to an address that was checked, whatever its host's name now leads to."""

    def __init__(self, target: Target, seconds: float) -> None:
        super().__init__(target.host, target.port, timeout=seconds)
        self._target = target
        self._wire: socket.socket | None = None
        self.aborted = False

    def connect(self) -> None:
        self.sock = socket.create_connection((self._target.address, self.port), self.timeout)
        if self._target.scheme == "https":
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(self.sock, server_hostname=self._target.host)
        self._wire = self.sock  # the base class forgets its own when the answer's head is read
        if self.aborted:
            raise TimeoutError("The time was over before there was a connection to end.")

    def abort(self) -> None:
        """End the connection from another thread."""
        self.aborted = True
        if self._wire is not None:
            with contextlib.suppress(OSError):  # it has ended by itself
                self._wire.shutdown(socket.SHUT_RDWR)
