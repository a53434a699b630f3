"""URLs that a site makes without end: calendars, paths that repeat themselves, sorting and filtering in all orders.

What is caught here is kept in the frontier and shown, and not fetched. Endless numbers look like any site's articles;
the source's bounds by page, depth and day are what stops those.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final
from urllib.parse import urlsplit

MOST_CHARACTERS: Final = 2000  # the longest that common servers and browsers agree on
MOST_SEGMENTS: Final = 20
MOST_REPEATS: Final = 3  # of one segment; /2024/05/05/ is a date
MOST_PARAMETERS: Final = 12
YEARS_AHEAD: Final = 2

_YEAR: Final = re.compile(r"(?<![0-9])((?:19|20|21)[0-9]{2})(?:[-/]?(?:0[1-9]|1[0-2])(?![0-9])|(?=[&/?]|$))")
_OF_CALENDARS: Final = re.compile(
    r"(?:^|[/?&_-])(?:calend[ae]r|kalender|calendrier|calendario|year|date|month|day|week)", re.IGNORECASE
)


def trap(url: str, year: int | None) -> str | None:
    """Return why a URL looks like one of endlessly many, None where it does not; ``year`` is when it was found."""
    if len(url) > MOST_CHARACTERS:
        return f"longer than {MOST_CHARACTERS} characters"
    parts = urlsplit(url)
    segments = [one for one in parts.path.split("/") if one]
    if len(segments) > MOST_SEGMENTS:
        return f"more than {MOST_SEGMENTS} levels"
    words = Counter(one for one in segments if not one.isdecimal())
    if words and (most := words.most_common(1)[0])[1] > MOST_REPEATS:
        return f"repeats {most[0][:40]!r}"
    if parts.query.count("&") >= MOST_PARAMETERS:
        return f"more than {MOST_PARAMETERS} parameters"
    return None if year is None else _of_a_calendar(f"{parts.path}?{parts.query}", year)


def _of_a_calendar(rest: str, year: int) -> str | None:
    """Tell of a page of a calendar that is far from today. An article may name any year, but not as a calendar does."""
    if not _OF_CALENDARS.search(rest):
        return None
    years = [int(found[1]) for found in _YEAR.finditer(rest)]
    far = next((one for one in years if one > year + YEARS_AHEAD), None)
    return f"a calendar in {far}" if far is not None else None
