"""What an operator can choose about a server."""

from __future__ import annotations

from dataclasses import dataclass

from vl2.errors import InputError
from vl2.processing.images import Limits
from vl2.server.names import canonical

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Settings:
    """Who may do what, and how much of it.

    Attributes:
        model: the name that requests call the model by.
        host: the address that it listens on.
        hosts: other names and addresses by which clients may call it.
        api_key: what clients must send as `Authorization: Bearer KEY`; None asks for nothing.
        url_hosts: hosts, or `host:port`, from which pictures may be fetched; none by default.
        private_urls: let those hosts have addresses inside the operator's own network.
        origins: web origins whose pages may call the API from a browser; none by default.
        queue: answers that may be unfinished at once, waiting ones included; more get a 429.
        picture_bytes: memory for the pictures of unfinished answers: tiles, and files that were
            fetched; more get a 429.
        max_body_bytes: size of a request's body.
        max_pixels: width times height of a picture.
        max_images: pictures in one conversation.
        header_seconds: time in which a request's head must have arrived.
        body_seconds: time in which its body must have arrived, and a picture been fetched.
        send_seconds: time for which a client may leave a piece of its answer unread.
        drain_seconds: time that unfinished answers get when the server is told to stop.

    Raises:
        InputError: a limit below 1, a key that no header can carry, or a host that is none.
    """

    model: str = "nano"
    host: str = "127.0.0.1"
    hosts: tuple[str, ...] = ()
    api_key: str | None = None
    url_hosts: tuple[str, ...] = ()
    private_urls: bool = False
    origins: tuple[str, ...] = ()
    queue: int = 64
    picture_bytes: int = 1024 * _MIB
    max_body_bytes: int = 32 * _MIB
    max_pixels: int = 40_000_000
    max_images: int = 16
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    send_seconds: float = 30.0
    drain_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name in ("queue", "picture_bytes", "max_body_bytes", "max_pixels", "max_images"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for host in self.hosts:
            if canonical(host) is None:
                raise InputError(
                    f"A server cannot be called {host!r}: --allow-hosts takes a name or an address "
                    "such as vl2.example.org, without scheme, port and path."
                )
        key = self.api_key
        if key is not None and not (key.isascii() and key.isprintable()):
            raise InputError("The API key holds characters that no header can carry: use ASCII.")
        if key is not None and (not key or key != key.strip()):
            raise InputError(
                "The API key is empty, or has spaces at its ends, which no header keeps: leave it "
                "out, or give one."
            )

    @property
    def picture_limits(self) -> Limits:
        """How large one picture may be."""
        return Limits(max_pixels=self.max_pixels, max_bytes=self.max_body_bytes)
