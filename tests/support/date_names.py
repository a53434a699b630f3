"""``python -m tests.support.date_names`` writes ``tasks/steps/parse/date_names.py`` anew, from what Babel has."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from babel.core import Locale

# Where regional forms differ in their months, all of them.
LOCALES = {
    "ar": ("ar", "ar_SY", "ar_MA", "ar_DZ"), "fa": ("fa", "fa_AF"), "fr": ("fr",), "es": ("es",), "ru": ("ru",),
    "de": ("de", "de_AT"), "pt": ("pt",), "it": ("it",), "tr": ("tr",), "uk": ("uk",), "nl": ("nl",), "pl": ("pl",),
    "en": ("en",),
}  # fmt: skip
TARGET = Path(__file__).parents[2] / "tasks" / "steps" / "parse" / "date_names.py"
HEAD = '''\
"""The names of months and weekdays by language, long and short, of all forms: those of the Unicode project's CLDR.

Written by ``python -m tests.support.date_names``; a test compares them with what Babel has. Twelve months and seven
weekdays from Monday on, each ended by ";", its names by ",".
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


def filled(words: Iterable[str], width: int = 108) -> Sequence[str]:
    """Return the words in as few lines as can hold them."""
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += word
    return lines


if __name__ == "__main__":
    TARGET.write_text("\n".join((HEAD, *table("MONTHS", "months"), *table("WEEKDAYS", "days"), "")), encoding="utf-8")
    sys.stdout.write(f"{TARGET} is written\n")
