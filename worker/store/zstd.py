"""Compression as the store uses it."""

from __future__ import annotations

import threading

import zstandard


class Packer(threading.local):
    """Compresses at one level. A context takes longer to make than a page to compress, and belongs to one thread."""

    def __init__(self, level: int) -> None:
        self.pack = zstandard.ZstdCompressor(level=level).compress


def unpack(frame: bytes) -> bytes:
    """Return the bytes that were compressed."""
    return zstandard.ZstdDecompressor().decompress(frame)
