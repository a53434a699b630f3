"""Bytes off a disk or a pipe: counted, unpacked where they are packed, and read on behind damage."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO, Protocol

import zstandard

if TYPE_CHECKING:
    from typing_extensions import Buffer  # in collections.abc from Python 3.12 on

CHUNK = 16 * 1024
BUFFER = 64 * 1024


class Damaged(Exception):
    """Packed bytes that cannot be unpacked. The next read goes on with the next packed member, where there is one."""


class _Machine(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


# name: magic bytes of a member, how to unpack one, and how many bytes to feed at a time: gzip grows 1,032 times at
# most, a zstd block of 4 bytes may stand for 128 KiB, and what one feeding gives is held in memory.
_PACKINGS: dict[str, tuple[bytes, Callable[[], _Machine], int]] = {
    "gzip": (b"\x1f\x8b\x08", lambda: zlib.decompressobj(wbits=31), 4096),
    "zstd": (b"\x28\xb5\x2f\xfd", lambda: zstandard.ZstdDecompressor().decompressobj(), 256),
}


def opened(raw: Counted, packing: str | None) -> io.BufferedReader:
    """Return the stream to read from: ``gzip`` and ``zstd`` (one member or many) are unpacked."""
    return io.BufferedReader(raw if packing is None else Unpacked(raw, packing), BUFFER)


class Counted(io.RawIOBase):
    """A file or pipe that knows how many bytes were taken from it."""

    def __init__(self, inner: BinaryIO | io.FileIO) -> None:
        super().__init__()
        self.count = 0
        # read1 returns what a pipe has now, where read would wait until it has all that was asked for.
        self._take: Callable[[int], bytes | None] = getattr(inner, "read1", inner.read)

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Fill the buffer with what there is; 0 at the end."""
        view = memoryview(buffer)
        data = self._take(len(view)) or b""
        view[: len(data)] = data
        self.count += len(data)
        return len(data)


class Unpacked(io.RawIOBase):
    """The unpacked bytes of a packed stream, member after member.

    The standard library's ``GzipFile`` is done for after an error, and ``zstandard``'s reader takes a frame that was
    cut for a whole one; a record-wise packed WARC has thousands of members, and one bad one is only itself.
    """

    def __init__(self, raw: Counted, packing: str) -> None:
        super().__init__()
        self._raw = raw
        self._packing = packing
        self._magic, self._new, self._piece = _PACKINGS[packing]
        self._machine: _Machine | None = None
        self._input = b""
        self._output = memoryview(b"")

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Fill the buffer with unpacked bytes; 0 at the end. Raises ``Damaged``, and can be called again after it."""
        while not self._output:
            if self._machine is None and not self._begin():
                return 0
            self._feed()
        view = memoryview(buffer)
        size = min(len(view), len(self._output))
        view[:size] = self._output[:size]
        self._output = self._output[size:]
        return size

    def _begin(self) -> bool:
        """Go to the start of the next member; False at the end. Zeros between members are padding."""
        while len(self._input) < len(self._magic):
            more = self._raw.read(CHUNK)
            if not more:
                break
            self._input = (self._input + more).lstrip(b"\0")
        self._input = self._input.lstrip(b"\0")
        if not self._input:
            return False
        if not self._input.startswith(self._magic):
            self._skip()
            raise Damaged(f"bytes that are not {self._packing}")
        self._machine = self._new()
        return True

    def _feed(self) -> None:
        """Unpack a piece of the current member."""
        machine = self._machine
        if machine is None:
            return
        self._input = self._input or self._raw.read(CHUNK) or b""
        piece, self._input = self._input[: self._piece], self._input[self._piece :]
        if not piece:
            self._machine = None
            raise Damaged(f"the {self._packing} data ends early")
        try:
            self._output = memoryview(machine.decompress(piece))
        except (zlib.error, zstandard.ZstdError) as error:
            self._machine = None
            self._input = (piece + self._input)[1:]
            self._skip()
            raise Damaged(f"damaged {self._packing} data") from error
        if machine.eof:
            self._input = machine.unused_data + self._input
            self._machine = None

    def _skip(self) -> None:
        """Go to the next place that looks like the start of a member, or to the end."""
        while (start := self._input.find(self._magic)) < 0:
            more = self._raw.read(CHUNK)
            if not more:
                self._input = b""
                return
            self._input = self._input[-len(self._magic) + 1 :] + more
        self._input = self._input[start:]
