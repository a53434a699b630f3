"""Turn what an HTTP server answers into bytes, or into one of our errors."""

from __future__ import annotations

import email.utils
import re
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
    Unsafe,
)

_MAX_RETRY_AFTER = 86_400  # seconds; a host cannot put an item off for longer than a day
_MAX_AGE = re.compile(r'(?:^|[\s,])max-age\s*=\s*"?(\d{1,9})', re.IGNORECASE)
_MAX_VALIDATOR = 500  # characters; what is longer is not worth its place in the store


class UnsafeAddress(OSError):
    """A name or a literal leads to an address that is not public; an OSError because that is what aiohttp expects."""


class Unanswered(aiohttp.ClientConnectionError):
    """A connection ended before the answer; its cause says how. Not an error that makes aiohttp ask again."""


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


def max_age(headers: Mapping[str, str]) -> int | None:
    """Return the seconds for which the host says that its answer stays fresh (RFC 9111, section 5.2.2.1)."""
    found = _MAX_AGE.search(headers.get("Cache-Control", ""))
    return int(found[1]) if found else None


def validator(value: str | None) -> str | None:
    """Return an ETag or a date as it may be kept and sent back in a header; None when it may not."""
    if value and len(value) <= _MAX_VALIDATOR and value.isascii() and value.isprintable():
        return value
    return None


def readable(value: str | None) -> str | None:
    """Return a header's value with bytes replaced that are no UTF-8, which aiohttp hands over as lone surrogates."""
    if value is None or value.isascii():
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def wire_error(error: Exception, url: str, status: int | None) -> PenstockError:
    """Map what aiohttp or the operating system raised while ``url`` was fetched; ``status`` is the answer's, if any."""
    details = {"status": status, "url": url}
    if isinstance(error, Unanswered) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, UnsafeAddress):
        return Unsafe(str(cause), **details)
    if isinstance(error, TimeoutError):
        return FetchTimeout(FetchTimeout.__doc__ or "", **details)
    if isinstance(error, aiohttp.InvalidURL | UnicodeError):  # the latter from IDNA; a bad certificate is a ValueError
        return Unsafe(f"not a URL that can be fetched: {url}", **details)
    if status is not None or isinstance(error, aiohttp.ClientPayloadError):
        return HttpError("the answer ended early", **details)
    if isinstance(error, aiohttp.ClientResponseError):
        told = error.message.strip().partition("\n")[0][:200]
        return HttpError(f"the host gave no answer that is HTTP: {told}", **details)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return HttpError("the host gave no answer that is HTTP", **details)
    return HostDown(f"the host cannot be reached: {cause}", **details)
