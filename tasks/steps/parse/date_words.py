"""The words of written dates by language: months, weekdays, and what stands between them.

Names are the Unicode project's (``date_names``), of all its regional forms: Egypt's, the Levant's and the Maghreb's
months in Arabic, nominative and genitive in Russian. Those of the Solar Hijri calendar (Iran, Afghanistan), which CLDR
has and Babel has not, and spellings that CLDR does not have, stand here.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from tasks.steps.parse.date_names import DAY_FIRST, DAY_FIRST_OTHERWISE, MONTHS, WEEKDAYS

Meaning = TypeVar("Meaning")
Month: TypeAlias = tuple[bool, int]  # whether it is of the Solar Hijri calendar; 1 to 12

_FILLERS: Final = {
    "ar": "يوم في الساعة", "fa": "روز ساعت ماه سال در", "fr": "le à", "es": "el de del a las", "ru": "в г года",
    "de": "am den um Uhr", "pt": "de às", "it": "il alle ore", "tr": "saat günü", "uk": "о р року", "nl": "om uur",
    "pl": "o r godz", "en": "on at the of",
}  # fmt: skip
_SOLAR: Final = (
    "فروردین اردیبهشت خرداد تیر مرداد شهریور مهر آبان آذر دی بهمن اسفند",
    "حمل ثور جوزا سرطان اسد سنبله میزان عقرب قوس جدی دلو حوت",
)
_SOLAR_LANGUAGES: Final = frozenset({"fa", "ps", "prs"})
_MORE_MONTHS: Final = {
    "ar": {"يونيه": 6, "يوليه": 7, "اغسطس": 8}, "ru": {"фев": 2, "сен": 9, "ноя": 11}, "en": {"Sept": 9},
}  # fmt: skip
_MORE_WEEKDAYS: Final = {
    "ar": {"الإثنين": 0},
    "fa": {"دو شنبه": 0, "سه شنبه": 1, "چهار شنبه": 2, "پنج شنبه": 3, "آدینه": 4, "یک شنبه": 6},
}
_LETTERS: Final = str.maketrans({"ی": "ي", "ى": "ي", "ک": "ك", "ة": "ه", "ı": "i", "ـ": None})
_DROPPED: Final = frozenset({"Mn", "Cf"})  # accents, vowel signs; joiners, marks of direction


@dataclass(frozen=True, slots=True)
class Words:
    """One language's words, each as ``folded`` writes it."""

    months: Mapping[str, Month]
    weekdays: Mapping[str, int]  # Monday is 0
    known: frozenset[str]  # all of them, and what may stand between


def folded(text: str) -> str:
    """Return the text as dates are compared: without accents, case and second spellings; digits as ASCII."""
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(_digit(one) for one in apart if unicodedata.category(one) not in _DROPPED).translate(_LETTERS)


def ascii_digits(text: str) -> str:
    """Return the text with the decimal digits of any script as ASCII."""
    return "".join(map(_digit, text))


@functools.lru_cache(maxsize=256)
def day_first(language: str | None) -> bool:
    """Tell whether dates in figures begin with the day in a language, given as the tag that a page has.

    The other order is never told: ``en-US`` is what much software says wherever it is used.
    """
    tag = (language or "").replace("_", "-").lower()
    return (tag.partition("-")[0] in DAY_FIRST) != (tag in DAY_FIRST_OTHERWISE)


def solar(language: str | None) -> bool:
    """Tell whether years in figures may be of the Solar Hijri calendar in a language."""
    return language is not None and re.split("[-_]", language)[0].lower() in _SOLAR_LANGUAGES


@functools.lru_cache(maxsize=1024)
def weekdays_named(name: str) -> frozenset[int]:
    """Return the weekdays, Monday as 0, that a name means in any of the languages, if it is no month's: ``mar``."""
    words = words_by_language().values()
    if any(name in one.months for one in words):
        return frozenset()
    return frozenset(one.weekdays[name] for one in words if name in one.weekdays)


def _digit(character: str) -> str:
    return character if character.isascii() or not character.isdecimal() else str(unicodedata.decimal(character))


@functools.cache
def words_by_language() -> Mapping[str, Words]:
    """Return all languages' words."""
    return {language: _words(language) for language in MONTHS}


def _words(language: str) -> Words:
    months = _unambiguous(_months(language))
    weekdays = _unambiguous(_weekdays(language))
    return Words(months, weekdays, frozenset({*months, *weekdays, *map(folded, _FILLERS[language].split())}))


def _months(language: str) -> Iterator[tuple[str, Month]]:
    for name, month in _names(MONTHS[language], first=1):
        yield name, (False, month)
    for name, month in _MORE_MONTHS.get(language, {}).items():
        yield folded(name), (False, month)
    if language == "fa":
        for names in _SOLAR:
            for month, name in enumerate(names.split(), start=1):
                yield folded(name), (True, month)


def _weekdays(language: str) -> Iterator[tuple[str, int]]:
    yield from _names(WEEKDAYS[language], first=0)
    for name, day in _MORE_WEEKDAYS.get(language, {}).items():
        yield folded(name), day


def _names(listed: str, *, first: int) -> Iterator[tuple[str, int]]:
    for number, names in enumerate(listed.split(";"), start=first):
        for name in filter(None, names.split(",")):
            yield folded(name), number


def _unambiguous(pairs: Iterable[tuple[str, Meaning]]) -> dict[str, Meaning]:
    """Return the names that mean one thing each."""
    found: dict[str, set[Meaning]] = {}
    for name, meaning in pairs:
        found.setdefault(name, set()).add(meaning)
    return {name: meanings.pop() for name, meanings in found.items() if len(meanings) == 1}
