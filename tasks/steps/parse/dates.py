"""Dates as pages write them. An impossible date is told, never bent into a possible one.

The usual English line has its own pattern and tables: ``strptime`` reads names by the machine's locale, and takes four
times as long. Other languages and forms are read by ``written``.
"""

from __future__ import annotations

import functools
import re
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from tasks.errors import Malformed
from tasks.steps.page import DateOrder, SourceProfile
from tasks.steps.parse.date_words import ascii_digits, day_first, solar
from tasks.steps.parse.figures import in_figures
from tasks.steps.parse.written import starts_written, written

WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WEEKDAY: Final = {name: number for number, name in enumerate(WEEKDAYS)}
_MONTH: Final = {name: number for number, name in enumerate(MONTHS, start=1)}
_FIRST_YEAR: Final = 1583  # weekdays are Gregorian
_LAST_YEAR: Final = 9998  # any zone's offset still leads to a year that datetime can hold

_LINE: Final = re.compile(r"([A-Z][a-z]{2}) ([A-Z][a-z]{2}) ([0-9]{1,2}), ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2})")
_SAMPLES: Final = ("Wed Feb 4, 2016 14:03:32", "Wed Feb 24, 2016 14:03:32")
_ISO: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?) ?([Zz]|GMT|UTC|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_RFC5322: Final = re.compile(
    r"(?:([A-Z][a-z]{2}), )?([0-9]{1,2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2})(?::([0-9]{2}))? "
    r"(GMT|UTC|UT|Z|[+-][0-9]{4})"
)


@functools.lru_cache(maxsize=256)
def zone_of(name: str) -> ZoneInfo:
    """Return the IANA zone; raises ``ZoneInfoNotFoundError`` (the profiles are checked before they get here)."""
    return ZoneInfo(name)


def date_line(line: str, zone: tzinfo) -> datetime:
    """Read ``Wed Feb 24, 2016 14:03:32``, or date and time in another language, in the given zone or its own.

    Raises ``Malformed`` when it is no such line, no date that exists, or the weekday is another one's.
    """
    found = _LINE.fullmatch(line)
    if found is None:
        return _written_line(line, zone)
    weekday, month, *numbers = found.groups()
    if weekday not in _WEEKDAY or month not in _MONTH:
        raise Malformed("the date in line 1 names no weekday or month that we know")
    day, year, hour, minute, second = map(int, numbers)
    moment = _moment(year, _MONTH[month], day, hour, minute, second, zone)
    if moment is None:
        raise Malformed("the date in line 1 does not exist")
    if moment.weekday() != _WEEKDAY[weekday]:
        raise Malformed(f"the date in line 1 was no {weekday}")
    return moment


def _written_line(line: str, zone: tzinfo) -> datetime:
    found = written(line)
    if found is None or found.clock is None:
        raise Malformed("line 1 is not a date and time such as 'Wed Feb 24, 2016 14:03:32'")
    try:
        return found.moment(zone)
    except ValueError as error:
        raise Malformed(f"the date in line 1 does not exist: {error}") from error


def is_date_line(line: str) -> bool:
    """Tell whether the line has the form of a date line, possible or not."""
    if _LINE.fullmatch(line) is not None:
        return True
    found = written(line)
    return found is not None and found.clock is not None


def starts_date_line(text: str) -> bool:
    """Tell whether the text, not empty, is how a date line begins."""
    return _starts_usual_line(text) or starts_written(text)


def _starts_usual_line(text: str) -> bool:
    weekday, month = text[:3], text[4:7]
    if not text or not any(name.startswith(weekday) for name in WEEKDAYS):
        return False
    if not any(name.startswith(month) for name in MONTHS):
        return False
    return any(_LINE.fullmatch(text + sample[len(text) :]) for sample in _SAMPLES)


def published(raw: str | None, profile: SourceProfile, language: str | None = None) -> datetime | None:
    """Read a date as a page of this source and language writes it; see ``any_date``."""
    if not raw:
        return None
    order = profile.date_order or ("dmy" if day_first(language) else None)
    return any_date(raw, zone_of(profile.timezone), order, solar=solar(language))


def any_date(text: str, zone: tzinfo, order: DateOrder | None = None, *, solar: bool = False) -> datetime | None:
    """Read a date of ISO 8601, of RFC 5322, in figures, or with a month's name in one of several languages.

    ``zone`` is for those that name none, ``order`` for those in figures that may be read in two ways, ``solar`` for
    years of the Solar Hijri calendar in figures. None when it is no date, an impossible one, or could be two. A date
    without a time becomes its midnight.
    """
    text = text.strip()
    if not text.isascii():
        text = ascii_digits(text)
    if (iso := _ISO.fullmatch(text)) is not None and not (solar and text.startswith(("13", "14"))):
        return _from_iso(iso, zone)
    if (mail := _RFC5322.fullmatch(text)) is not None:
        return _from_mail(mail)
    if (figures := in_figures(text, zone, order, solar=solar)) is not None:
        return figures
    found = written(text)
    try:
        return found.moment(zone) if found else None
    except ValueError:
        return None


def _from_iso(found: re.Match[str], zone: tzinfo) -> datetime | None:
    day, clock, named = found.groups()
    offset = "Z" if named in {"GMT", "UTC"} else (named or "").upper()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock or '00:00'}{offset}")
    except ValueError:
        return None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


def _from_mail(found: re.Match[str]) -> datetime | None:
    weekday, day, month, year, hour, minute, second, zone = found.groups()
    if month not in _MONTH:
        return None
    offset = timezone.utc if zone[0] not in "+-" else _offset(zone)  # noqa: UP017 (both branches are of this type)
    if offset is None:
        return None
    moment = _moment(int(year), _MONTH[month], int(day), int(hour), int(minute), int(second or 0), offset)
    if moment is None or (weekday and _WEEKDAY.get(weekday) != moment.weekday()):
        return None
    return moment


def _offset(text: str) -> timezone | None:
    minutes = int(text[1:3]) * 60 + int(text[3:5])
    if minutes >= 24 * 60:
        return None
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def _moment(  # noqa: PLR0917 (the parts of a date, in the usual order)
    year: int, month: int, day: int, hour: int, minute: int, second: int, zone: tzinfo
) -> datetime | None:
    if not _FIRST_YEAR <= year <= _LAST_YEAR:
        return None
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=zone)
    except ValueError:
        return None
