"""Dates as people write them, in the languages of ``date_words``: ``mercredi 24 février 2016, 14:03``.

Each word must be known, in one language; there is one month, one day, one year, at most one time and weekday. What is
left out is not guessed, and neither is a zone's name that several zones have (``IST``, ``CST``).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Final

from persiantools.jdatetime import JalaliDate

from tasks.steps.parse.date_words import Words, folded, words_by_language

_LONGEST: Final = 120  # characters
# Minutes east of Greenwich; names that no other zone has.
_ZONES: Final = {
    "gmt": 0, "utc": 0, "ut": 0, "z": 0, "wet": 0, "west": 60, "cet": 60, "cest": 120, "eet": 120, "eest": 180,
    "msk": 180, "jst": 540, "edt": -240, "pdt": -420,
}  # fmt: skip
_PARTS: Final = r"""
    (?P<gap>[\s,،.;|/()\u2013\u2014-]+)
  | (?P<clock>[0-9]{1,2}[:h][0-9]{2}(?::[0-9]{2})?)(?:\s?(?P<half>[ap])\.?\s?m(?!\w)\.?)?
    (?:\s*\(?(?:(?P<zone>%(zones)s)\s?)?(?P<offset>(?<=gmt|utc)[+-][0-9]{1,2}(?![0-9:])|[+-][0-9]{2}:?[0-9]{2})?)(?![\w:])
  | (?P<number>[0-9]{1,4})(?:er|st|nd|rd|th|o)?(?![\w:])
  | (?P<name>%(words)s)(?!\w)
"""
_LENGTHS: Final = ([1, 4], [2, 4])
_NOON: Final = 12
_NO_HOUR: Final = 99
_FIGURES: Final = re.compile("[0-9:h]+")
_MEMO: Final = 1024  # lines; sniffing and parsing read the same one
GREGORIAN: Final = range(1583, 9999)  # weekdays are Gregorian; any zone's offset still leads to a year
# The Solar Hijri years for which the calendar is sure: Iran's law is of 1925, Norouz is computed as the calendar
# authority does for these (https://github.com/majiidd/persiantools).
_SOLAR: Final = range(1200, 1501)


@dataclass(frozen=True, slots=True)
class Written:
    """What a text says of a moment, as it says it: the day may not exist."""

    solar: bool  # of the Solar Hijri calendar, else Gregorian
    year: int
    month: int
    day: int
    clock: tuple[int, int, int] | None
    weekday: int | None  # Monday is 0
    minutes_east: int | None  # of the zone that it names

    def moment(self, zone: tzinfo) -> datetime:
        """Return the moment, midnight without a time; ``zone`` is for a text that names none.

        Raises ``ValueError`` saying that there is no such day or time, or that it was another weekday.
        """
        year, month, day = self._gregorian()
        if self.minutes_east is not None:
            zone = timezone(timedelta(minutes=self.minutes_east))
        hour, minute, second = self.clock or (0, 0, 0)
        moment = datetime(year, month, day, hour, minute, second, tzinfo=zone)
        if self.weekday not in {None, moment.weekday()}:
            message = "the day was another weekday"
            raise ValueError(message)
        return moment

    def _gregorian(self) -> tuple[int, int, int]:
        if self.year not in (_SOLAR if self.solar else GREGORIAN):
            message = f"the year {self.year} is none that dates are read of"
            raise ValueError(message)
        if not self.solar:
            return self.year, self.month, self.day
        day = JalaliDate(self.year, self.month, self.day).to_gregorian()  # type: ignore[no-untyped-call]  # it is half typed
        return day.year, day.month, day.day


@functools.lru_cache(maxsize=_MEMO)
def written(text: str) -> Written | None:
    """Read a date with a month's name in any of the languages; None where it is none, or means several dates."""
    plain = _plain(text)
    if plain is None:
        return None
    found = {one for language in words_by_language() if (one := _in_language(plain, language)) is not None}
    return found.pop() if len(found) == 1 else None


def starts_written(text: str) -> bool:
    """Tell whether the text is how a date with a month's name begins, in a language other than English."""
    if len(text) > _LONGEST:
        return False
    plain = folded(text)
    return any(_begins(plain, one) for one in words_by_language() if one != "en")


def _plain(text: str) -> str | None:
    """Return the text folded, where it can be such a date at all."""
    if len(text) > _LONGEST or not any(map(str.isdecimal, text)):
        return None
    return folded(text).strip()


def _in_language(plain: str, language: str) -> Written | None:
    tokens = list(_tokens(plain, language))
    if not tokens or tokens[-1].end() != len(plain):
        return None
    words = words_by_language()[language]
    numbers = _day_and_year([one["number"] for one in tokens if one["number"]])
    month, weekday = _names([one["name"] for one in tokens if one["name"]], words)
    clocks = [one for one in tokens if one["clock"]]
    if numbers is None or month is None or len(clocks) > 1:
        return None
    clock, east = (_clock(clocks[0]), _minutes_east(clocks[0])) if clocks else (None, None)
    (day, year), (solar, number) = numbers, month
    return Written(solar, year, number, day, clock, weekday, east)


def _day_and_year(numbers: list[str]) -> tuple[int, int] | None:
    """Return the numbers of one or two figures and of four, in whatever order; None unless there are these two."""
    short_first = sorted(numbers, key=len)
    if [len(one) for one in short_first] not in _LENGTHS:
        return None
    day, year = map(int, short_first)
    return day, year


def _names(names: list[str], words: Words) -> tuple[tuple[bool, int] | None, int | None]:
    """Return month and weekday, None where there is none or more than one; ``mar`` may be March or Tuesday."""
    months = {words.months[name] for name in names if name in words.months and name not in words.weekdays}
    months = months or {words.months[name] for name in names if name in words.months}
    weekdays = {
        words.weekdays[name] for name in names if name in words.weekdays and words.months.get(name) not in months
    }
    if len(months) != 1 or len(weekdays) > 1:
        return None, None
    return months.pop(), weekdays.pop() if weekdays else None


def _clock(token: re.Match[str]) -> tuple[int, int, int]:
    hour, minute, second = map(int, (*re.split("[:h]", token["clock"]), "0")[:3])
    if token["half"]:  # a.m. or p.m.
        hour = _NO_HOUR if not 1 <= hour <= _NOON else hour % _NOON + (_NOON if token["half"] == "p" else 0)
    return hour, minute, second


def _minutes_east(token: re.Match[str]) -> int | None:
    """Return the offset where there is one, as ``+3``, ``+0330`` or ``+03:30``, else the zone's."""
    zone, offset = token["zone"], token["offset"]
    if offset is None:
        return None if zone is None else _ZONES[zone]
    digits = offset[1:].replace(":", "")
    minutes = int(digits[:2]) * 60 + int(digits[2:] or 0)
    return -minutes if offset[0] == "-" else minutes


def _tokens(plain: str, language: str) -> Iterator[re.Match[str]]:
    """Yield tokens for as long as they are known."""
    at = 0
    while (found := _token(language).match(plain, at)) is not None:
        yield found
        at = found.end()


@functools.cache
def _token(language: str) -> re.Pattern[str]:
    words = words_by_language()[language].known
    return re.compile(_PARTS % {"zones": _any_of(_ZONES), "words": _any_of(words)}, re.VERBOSE)


def _any_of(words: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


def _begins(plain: str, language: str) -> bool:
    """Tell whether the text is known words up to an unfinished one, and at least two letters of a name."""
    at, named = 0, False
    for one in _tokens(plain, language):
        at, named = one.end(), named or bool(one["name"])
    rest, words = plain[at:], words_by_language()[language]
    if not rest:
        return named
    if _FIGURES.fullmatch(rest):
        return named
    begun = any(name.startswith(rest) for name in words.known)
    return begun and (named or len(rest) > 1)
