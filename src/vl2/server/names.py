"""Names of hosts as clients write them in a request's head."""

from __future__ import annotations

import ipaddress
import re

_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*")
_HEADER = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::\d{0,5})?")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def canonical(host: str) -> str | None:
    """A name or an address in the one spelling in which two of them can be compared.

    Args:
        host: without a port; an IPv6 address may stand in brackets.

    Returns:
        None if no host can be called so.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if (address := as_address(bare)) is not None:
        return str(address)
    name = host.lower().removesuffix(".")
    return name if len(name) <= 253 and _NAME.fullmatch(name) else None


def called(header: str) -> str | None:
    """The host of a `Host` header, as `canonical` gives it; None if it is malformed."""
    parts = _HEADER.fullmatch(header)
    return None if parts is None else canonical(parts[1])


def as_address(host: str) -> Address | None:
    """The IP address that a host is, if it is one."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
