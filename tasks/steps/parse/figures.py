"""Dates in figures: ``02/03/2024``, ``2024-03-02 14:03``, ``Sat, 03/02/2024 - 14:03``, ``2024年3月2日``.

A year that comes first says the order; else the source's profile, the page's language or the weekday does, or the
numbers allow but one. What may be two days is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Final, NamedTuple

from tasks.steps.page import DateOrder
from tasks.steps.parse.date_words import folded, weekdays_named
from tasks.steps.parse.written import GREGORIAN, Written

_CLOCK: Final = r"(?P<clock>[0-9]{1,2}[:h][0-9]{2}(?::[0-9]{2})?)(?: ?(?P<half>[ap])\.?m\.?| ?h| Uhr)?"
_FIGURES: Final = re.compile(
    r"(?:(?P<weekday>[^\W\d]+)[.,،]* )?(?P<first>[0-9]{1,4})(?P<mark>[./-])(?P<middle>[0-9]{1,2})(?P=mark)"
    rf"(?P<last>[0-9]{{1,4}})(?:\.?,?(?: [–-])?(?: (?!오후)[^\W\d]{{1,4}}){{0,2}} +{_CLOCK})?",
    re.IGNORECASE,
)
_IDEOGRAPHS: Final = re.compile(
    r"(?P<first>[0-9]{4}) ?[年년] ?(?P<middle>[0-9]{1,2}) ?[月월] ?(?P<last>[0-9]{1,2}) ?[日일号]"
    r"(?: ?[(（].[)）])?(?: ?(?P<clock>[0-9]{1,2} ?[:：時时點点시] ?[0-9]{1,2})[分분]?)?"
)
_HOURS: Final = re.compile("[^0-9]+")
_YEAR: Final = 4  # figures
_MONTHS_OF_A_YEAR: Final = 12
_NOON: Final = 12
_SOLAR: Final = range(1300, 1500)  # Solar Hijri years of what has been published


class _Day(NamedTuple):
    year: int
    month: int
    day: int


def in_figures(text: str, zone: tzinfo, order: DateOrder | None, *, solar: bool) -> datetime | None:
    """Read such a date; None where it is none, impossible, or may be two.

    ``solar``: years such as 1403 are of the Solar Hijri calendar.
    """
    found = _FIGURES.fullmatch(text) or _IDEOGRAPHS.fullmatch(text)
    if found is None:
        return None
    parts = found.groupdict()
    weekdays = weekdays_named(folded(parts.get("weekday") or ""))
    if parts.get("weekday") and not weekdays:
        return None
    clock = _clock(parts["clock"], parts.get("half"))
    moments = [_moment(day, clock, zone, solar=solar) for day in _days(found, order, any_order=bool(weekdays))]
    known = {one for one in moments if one is not None and (not weekdays or one.weekday() in weekdays)}
    return known.pop() if len(known) == 1 else None


def _days(found: re.Match[str], order: DateOrder | None, *, any_order: bool) -> Iterator[_Day]:
    """Yield the days that the figures may mean: in the known order, else in either where the weekday will tell."""
    first, middle, last = found["first"], int(found["middle"]), found["last"]
    if len(first) == _YEAR:
        yield _Day(int(first), middle, int(last))
    elif len(last) == _YEAR:
        order = order or _only_order(int(first), middle)
        if order == "dmy" or any_order:
            yield _Day(int(last), middle, int(first))
        if order == "mdy" or any_order:
            yield _Day(int(last), int(first), middle)


def _only_order(first: int, second: int) -> DateOrder | None:
    """Return the only order in which two numbers can be day and month; of two equal ones either does."""
    if first == second or first > _MONTHS_OF_A_YEAR:
        return "dmy"
    return "mdy" if second > _MONTHS_OF_A_YEAR else None


def _clock(text: str | None, half: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    hour, minute, second = map(int, (*_HOURS.split(text), "0")[:3])
    if half:
        hour = hour % _NOON + (_NOON if half in "pP" else 0)
    return hour, minute, second


def _moment(day: _Day, clock: tuple[int, int, int] | None, zone: tzinfo, *, solar: bool) -> datetime | None:
    is_solar = solar and day.year in _SOLAR
    if not is_solar and day.year not in GREGORIAN:
        return None
    try:
        return Written(is_solar, *day, clock, None, None).moment(zone)
    except ValueError:
        return None
