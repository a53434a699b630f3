"""Times as options name them."""

from __future__ import annotations

import re
import time
from datetime import UTC, date, datetime, timedelta

from tasks.errors import UsageError

_AGO = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros_of(option: str, text: str | None) -> int | None:
    """Return microseconds since the epoch for an RFC 3339 time, a date (UTC), or an age such as 7d or 12h.

    Raises ``UsageError`` that names the option.
    """
    if text is None:
        return None
    try:
        moment = _moment(text.strip())
    except (ValueError, OverflowError) as error:
        message = (
            f"{option} takes a time with its offset (2026-08-01T10:00:00Z), a date (2026-08-01), or an age "
            f"(90m, 12h, 7d, 2w), not '{text}'"
        )
        raise UsageError(message) from error
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _moment(text: str) -> datetime:
    if ago := _AGO.fullmatch(text):
        return datetime.fromtimestamp(time.time(), UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    if _DATE.fullmatch(text):
        return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
    moment = datetime.fromisoformat(text.upper())
    if moment.tzinfo is None:
        message = "no offset"
        raise ValueError(message)
    return moment.astimezone(UTC)
