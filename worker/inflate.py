"""Bodies in the content codings that are asked for, inflated piece by piece within bounds of size and ratio.

Each library is used by the part of its interface that bounds what one call returns. ``zstandard``, which packs the
archive, has none that also tells a stream that ends early.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import brotli

from tasks.errors import HttpError, TooLarge

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ACCEPT_ENCODING: Final = "gzip, deflate, br, zstd"

_STEP: Final = 262_144  # bytes that one call inflates, about: what may come beyond the limit
_MAX_RATIO: Final = 200  # text does not shrink to less than a hundredth
_RATIO_FREE: Final = 1_048_576  # bytes below which no ratio harms
_MAX_MEMBERS: Final = 64  # a body of thousands of empty members would cost time without giving bytes
_MAGIC: Final = {"gzip": (b"\x1f\x8b",), "zstd": (b"\x28\xb5", *(bytes((0x50 + low, 0x2A)) for low in range(16)))}
_ZLIB_HEADER: Final = 8  # the low half of a zlib stream's first byte (RFC 1950, section 2.2); else it is raw deflate
# 8 MiB, the window that HTTP allows (RFC 9659).
_ZSTD_BOUNDS: Final[Mapping[int, int]] = {zstd.DecompressionParameter.window_log_max: 23}
_BROKEN: Final = (zlib.error, brotli.error, zstd.ZstdError)


class Inflater:
    """Collects a body in the content coding ``coding``.

    Raises ``TooLarge`` above ``limit`` bytes, received or inflated, and where a body inflates beyond all measure;
    ``HttpError`` when the coding is one that was not asked for, broken, or ends early.
    """

    def __init__(self, coding: str, limit: int) -> None:
        self._coding = coding.strip().lower().removeprefix("x-")
        self._plain = self._coding in {"", "identity"}
        if not self._plain and self._coding not in _STREAMS:
            message = f"the content coding {self._coding[:40]!r} was not asked for"
            raise HttpError(message)
        self._limit = limit
        self._received = 0
        self._out = bytearray()
        self._members = 0
        self._stream: _Stream | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body as received."""
        self._received += len(data)
        self._bound(self._received)
        if self._plain:
            self._keep(data)
            return
        while data and not self._over(data):
            data = self._feed_member(data)

    def finish(self) -> bytes:
        """Return the whole body."""
        if self._stream is not None and not self._stream.ended():
            message = f"the {self._coding} stream ended early"
            raise HttpError(message)
        return bytes(self._out)

    def so_far(self) -> bytes:
        """Return what has come out, up to the limit."""
        return bytes(self._out[: self._limit])

    def _over(self, data: bytes) -> bool:
        """Tell whether the stream is over and ``data`` is padding, which servers do send, not another member."""
        if self._stream is None or not self._stream.ended():
            return False
        return not any(magic.startswith(data[:2]) for magic in _MAGIC.get(self._coding, ()))

    def _feed_member(self, data: bytes) -> bytes:
        """Inflate what belongs to the current member and return the rest."""
        stream = self._member(data)
        try:
            while True:
                out = stream.inflate(data)
                self._keep(out)
                if stream.ended():
                    return stream.rest()
                if stream.hungry() and len(out) < _STEP:
                    return b""
                data = b""
        except _BROKEN as error:
            message = f"the {self._coding} stream is broken: {error}"
            raise HttpError(message) from error

    def _member(self, data: bytes) -> _Stream:
        if self._stream is None or self._stream.ended():
            self._members += 1
            if self._members > _MAX_MEMBERS:
                message = f"the {self._coding} stream has more than {_MAX_MEMBERS} members"
                raise HttpError(message)
            self._stream = _STREAMS[self._coding](data)
        return self._stream

    def _keep(self, data: bytes) -> None:
        self._out += data
        self._bound(len(self._out))
        if len(self._out) > max(_RATIO_FREE, _MAX_RATIO * self._received):
            message = f"the body inflates to more than {_MAX_RATIO} times its size"
            raise TooLarge(message)

    def _bound(self, size: int) -> None:
        if size > self._limit:
            message = f"the body has more than {self._limit} bytes"
            raise TooLarge(message)


class _Stream(Protocol):
    """One member of a body. Not hungry: there is more to come out of what went in; call again with nothing."""

    def inflate(self, data: bytes) -> bytes: ...

    def hungry(self) -> bool: ...

    def ended(self) -> bool: ...

    def rest(self) -> bytes:
        """Return what followed the end."""


class _Deflated:
    def __init__(self, window_bits: int) -> None:
        self._inflate = zlib.decompressobj(window_bits)

    def inflate(self, data: bytes) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, _STEP)

    def hungry(self) -> bool:
        return not self._inflate.unconsumed_tail

    def ended(self) -> bool:
        return self._inflate.eof

    def rest(self) -> bytes:
        return self._inflate.unused_data


class _Zstd:
    def __init__(self) -> None:
        self._inflate = zstd.ZstdDecompressor(options=_ZSTD_BOUNDS)

    def inflate(self, data: bytes) -> bytes:
        return self._inflate.decompress(data, _STEP)

    def hungry(self) -> bool:
        return self._inflate.needs_input

    def ended(self) -> bool:
        return self._inflate.eof

    def rest(self) -> bytes:
        return self._inflate.unused_data


class _Brotli:
    """Its window has at most 16 MiB (RFC 7932, section 9.1); the library takes bytes after the end for a fault."""

    def __init__(self) -> None:
        self._inflate = brotli.Decompressor()

    def inflate(self, data: bytes) -> bytes:
        return bytes(self._inflate.process(data, output_buffer_limit=_STEP))

    def hungry(self) -> bool:
        return bool(self._inflate.can_accept_more_data())

    def ended(self) -> bool:
        return bool(self._inflate.is_finished())

    def rest(self) -> bytes:
        return b""


def _deflate(data: bytes) -> _Stream:
    return _Deflated(zlib.MAX_WBITS if data[0] & 0x0F == _ZLIB_HEADER else -zlib.MAX_WBITS)


_STREAMS: Final[dict[str, Callable[[bytes], _Stream]]] = {
    "gzip": lambda _: _Deflated(16 + zlib.MAX_WBITS),
    "deflate": _deflate,
    "br": lambda _: _Brotli(),
    "zstd": lambda _: _Zstd(),
}
