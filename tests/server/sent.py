"""Pictures and messages that tests send."""

import base64
import io
import struct
import zlib
from pathlib import Path

import PIL.Image

BUNDLED = Path(__file__).resolve().parents[2] / "src" / "vl2" / "assets" / "pictures"


def data_url(data, kind="image/png"):
    return f"data:{kind};base64," + base64.b64encode(data).decode()


def bundled(name="shapes"):
    return (BUNDLED / f"{name}.png").read_bytes()


def png(width, height, colour=(200, 30, 30)):
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def bomb(width, height):
    """A few bytes that claim to be a picture of this size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = b""
    for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        checksum = zlib.crc32(kind + data)
        chunks += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
    return b"\x89PNG\r\n\x1a\n" + chunks


def part(data):
    return {"type": "image_url", "image_url": {"url": data_url(data)}}


def asking(question, *pictures):
    """Messages of one turn: pictures, then a question."""
    content = [*map(part, pictures), {"type": "text", "text": question}]
    return [{"role": "user", "content": content}]
