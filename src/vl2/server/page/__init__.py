"""The web page: a conversation about pictures, mounted beside the API."""

from vl2.server.page.mounting import mount

__all__ = ["mount"]
