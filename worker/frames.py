"""Messages over a socket pair between two of our own processes: four bytes of length, then the message."""

from __future__ import annotations

import socket
import struct
import time
from typing import Final

_LENGTH: Final = struct.Struct("!I")


def send(pipe: socket.socket, message: bytes, *, seconds: float | None = None) -> None:
    """Send a message. Raises ``TimeoutError`` when the other side does not take it, ``OSError`` when it is gone."""
    pipe.settimeout(seconds)
    pipe.sendall(_LENGTH.pack(len(message)) + message)


def receive(pipe: socket.socket, *, seconds: float | None = None) -> bytes | None:
    """Return the next message; None when the other side is gone. Raises ``TimeoutError``."""
    ends = None if seconds is None else time.monotonic() + seconds
    head = _exactly(pipe, _LENGTH.size, ends)
    return None if head is None else _exactly(pipe, _LENGTH.unpack(head)[0], ends)


def _exactly(pipe: socket.socket, size: int, ends: float | None) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        pipe.settimeout(None if ends is None else max(0.001, ends - time.monotonic()))
        try:
            part = pipe.recv(min(size - len(parts), 1 << 20))
        except ConnectionError:
            return None
        if not part:
            return None
        parts += part
    return bytes(parts)
