"""Turn what an HTTP server answers into bytes, or into one of our errors."""

from __future__ import annotations

import email.utils
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus

import aiohttp

from tasks.errors import (
    FetchTimeout,
    Gone,
    HostDown,
    HttpError,
    PenstockError,
    Throttled,
    TooLarge,
    Unsafe,
)

ACCEPT_ENCODING = "gzip, deflate"  # what Inflater can bound; a server that sends another coding is refused

_MAX_RETRY_AFTER = 86_400  # seconds; a host cannot put an item off for longer than a day
_MAX_GZIP_MEMBERS = 64  # a body of thousands of empty members would cost time without giving bytes
_GZIP_MAGIC = b"\x1f\x8b"
_ZLIB_HEADER = 8  # the low half of a zlib stream's first byte (RFC 1950, section 2.2); else it is raw deflate


class UnsafeAddress(OSError):
    """A name or a literal leads to an address that is not public; an OSError because that is what aiohttp expects."""


def status_error(status: int, headers: Mapping[str, str], url: str) -> PenstockError:
    """Map a status that is neither 200 nor a redirect."""
    details = {"status": status, "url": url}
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        return Gone(f"the host answered {status}", **details)
    seconds = retry_after(headers.get("Retry-After"), datetime.now(UTC))
    if status == HTTPStatus.TOO_MANY_REQUESTS or (status == HTTPStatus.SERVICE_UNAVAILABLE and seconds is not None):
        return Throttled(f"the host answered {status} and asks for a pause", retry_after=seconds, **details)
    return HttpError(f"the host answered {status}", **details)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Read a Retry-After field, seconds or a date (RFC 9110, section 10.2.3), as seconds from ``now``, at most a day.

    None when there is none or it is neither.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:9]), _MAX_RETRY_AFTER))
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:  # "-0000" parses as a time without zone; HTTP dates are always UTC
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), _MAX_RETRY_AFTER)


def wire_error(error: Exception, url: str, status: int | None) -> PenstockError:
    """Map what aiohttp or the operating system raised while ``url`` was fetched; ``status`` is the answer's, if any."""
    details = {"status": status, "url": url}
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, UnsafeAddress):
        return Unsafe(str(cause), **details)
    if isinstance(error, TimeoutError):
        return FetchTimeout(FetchTimeout.__doc__ or "", **details)
    if isinstance(error, ValueError):  # aiohttp.InvalidURL is one, and so is what IDNA raises
        return Unsafe(f"not a URL that can be fetched: {url}", **details)
    if status is not None or isinstance(error, aiohttp.ClientPayloadError):
        return HttpError("the answer ended early", **details)
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientResponseError):
        return HttpError("the host gave no answer that is HTTP", **details)
    return HostDown(f"the host cannot be reached: {cause}", **details)


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read and inflate the body; never holds much more than ``limit`` bytes.

    Raises ``TooLarge`` above ``limit`` bytes, declared, received or inflated, and ``HttpError`` when the content
    coding is one that was not asked for, broken, or ends early.
    """
    details = {"status": response.status, "url": str(response.url)}
    if (response.content_length or 0) > limit:
        message = f"the host announces {response.content_length} bytes, the limit is {limit}"
        raise TooLarge(message, **details)
    try:
        inflater = Inflater(response.headers.get("Content-Encoding", ""), limit)
        async for chunk in response.content.iter_any():
            inflater.feed(chunk)
        return inflater.finish()
    except PenstockError as error:
        error.details.update(details)
        raise


class Inflater:
    """Collects a body in the content coding ``coding`` and stops at ``limit`` bytes of output."""

    def __init__(self, coding: str, limit: int) -> None:
        self._coding = coding.strip().lower().removeprefix("x-")
        if self._coding not in {"", "identity", "gzip", "deflate"}:
            message = f"the content coding {self._coding[:40]!r} was not asked for"
            raise HttpError(message)
        self._limit = limit
        self._out = bytearray()
        self._members = 0
        self._inflate: zlib._Decompress | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body as received."""
        if self._coding in {"", "identity"}:
            self._keep(data)
            return
        while data and not self._ended(data):
            data = self._feed_member(data)

    def finish(self) -> bytes:
        """Return the whole body."""
        if self._inflate is not None and not self._inflate.eof:
            message = f"the {self._coding} stream ended early"
            raise HttpError(message)
        return bytes(self._out)

    def _ended(self, data: bytes) -> bool:
        """Tell whether the stream is over and ``data`` is padding, which servers do send, not another gzip member."""
        if self._inflate is None or not self._inflate.eof:
            return False
        return self._coding != "gzip" or not _GZIP_MAGIC.startswith(data[:2])

    def _feed_member(self, data: bytes) -> bytes:
        """Inflate what belongs to the current member and return the rest."""
        inflate = self._member(data)
        try:
            self._keep(inflate.decompress(data, self._limit - len(self._out) + 1))
        except zlib.error as error:
            message = f"the {self._coding} stream is broken: {error}"
            raise HttpError(message) from error
        return inflate.unused_data if inflate.eof else inflate.unconsumed_tail

    def _member(self, data: bytes) -> zlib._Decompress:
        if self._inflate is None or self._inflate.eof:
            self._members += 1
            if self._members > _MAX_GZIP_MEMBERS:
                message = f"the {self._coding} stream has more than {_MAX_GZIP_MEMBERS} members"
                raise HttpError(message)
            self._inflate = zlib.decompressobj(self._window_bits(data))
        return self._inflate

    def _window_bits(self, data: bytes) -> int:
        if self._coding == "gzip":
            return 16 + zlib.MAX_WBITS
        return zlib.MAX_WBITS if data[0] & 0x0F == _ZLIB_HEADER else -zlib.MAX_WBITS

    def _keep(self, data: bytes) -> None:
        self._out += data
        if len(self._out) > self._limit:
            message = f"the body has more than {self._limit} bytes"
            raise TooLarge(message)
