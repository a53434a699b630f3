"""``python -m tests.support.date_names`` writes ``tasks/steps/parse/date_names.py`` anew, from what Babel has."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from babel.core import Locale
from babel.localedata import locale_identifiers

# Where regional forms differ in their months, all of them.
LOCALES = {
    "ar": ("ar", "ar_SY", "ar_MA", "ar_DZ"), "fa": ("fa", "fa_AF"), "fr": ("fr",), "es": ("es",), "ru": ("ru",),
    "de": ("de", "de_AT"), "pt": ("pt",), "it": ("it",), "tr": ("tr",), "uk": ("uk",), "nl": ("nl",), "pl": ("pl",),
    "en": ("en",),
}  # fmt: skip
TARGET = Path(__file__).parents[2] / "tasks" / "steps" / "parse" / "date_names.py"
HEAD = '''\
"""How dates are written, by language, as the Unicode project's CLDR has it.

Written by ``python -m tests.support.date_names``; a test compares it with what Babel has. Twelve months and seven
weekdays from Monday on, long and short and in all forms, each ended by ";", its names by ",". Then the languages whose
dates in figures begin with the day, and the regions in which that is otherwise than in the rest of their language.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final'''


def names(language: str, kind: str) -> list[list[str]]:
    """Return the names of each of a language's ``months`` or ``days``, each once, without a short one's full stop."""
    found: dict[int, set[str]] = {}
    for locale in LOCALES[language]:
        for widths in getattr(Locale.parse(locale), kind).values():
            for width in ("wide", "abbreviated"):
                for number, name in widths[width].items():
                    found.setdefault(number, set()).add(name.rstrip("."))
    return [sorted(found[number]) for number in sorted(found)]


def table(name: str, kind: str) -> Iterator[str]:
    """Yield the lines of one table."""
    yield f"\n{name}: Final[Mapping[str, str]] = {{"
    for language in LOCALES:
        first, *more = filled([",".join(one) + ";" for one in names(language, kind)])
        if not more:
            yield f'    "{language}": "{first}",'
            continue
        yield f'    "{language}": ('
        yield from (f'        "{line}"' for line in (first, *more))
        yield "    ),"
    yield "}"


def orders() -> tuple[frozenset[str], frozenset[str]]:
    """Return the languages whose short dates begin with the day, and the tags of which that is otherwise.

    English is not among the former: what is no region's own may be written anywhere.
    """
    found = {one.replace("_", "-").lower(): _day_first(one) for one in locale_identifiers()}
    languages = {tag for tag, day in found.items() if day and "-" not in tag and tag != "en"}
    otherwise = {tag for tag, day in found.items() if "-" in tag and day != (tag.partition("-")[0] in languages)}
    return frozenset(languages), frozenset(otherwise)


def _day_first(locale: str) -> bool:
    return str(Locale.parse(locale).date_formats["short"].pattern).startswith("d")


def listing(name: str, tags: Iterable[str]) -> Iterator[str]:
    """Yield the lines of one set."""
    yield f"\n{name}: Final = frozenset("
    yield "    ("
    for line in filled([f"{tag} " for tag in sorted(tags)]):
        yield f'        "{line}"'
    yield "    ).split()"
    yield ")"


def filled(words: Iterable[str], width: int = 108) -> Sequence[str]:
    """Return the words in as few lines as can hold them."""
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += word
    return lines


if __name__ == "__main__":
    names_of = (*table("MONTHS", "months"), *table("WEEKDAYS", "days"))
    first, otherwise = orders()
    tags = (*listing("DAY_FIRST", first), *listing("DAY_FIRST_OTHERWISE", otherwise))
    TARGET.write_text("\n".join((HEAD, *names_of, *tags, "")), encoding="utf-8")
    sys.stdout.write(f"{TARGET} is written\n")
