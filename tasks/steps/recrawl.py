"""When a page is fetched again: the sooner, the more often it changes."""

from __future__ import annotations

import zlib
from typing import Final

from tasks.steps.lists import list_interval
from tasks.steps.page import Recrawl, SourceProfile
from tasks.steps.policy import may_fetch

MOST_US: Final = 30 * 86_400_000_000  # where a profile says no longest time
_SPREAD: Final = 0.1  # pages that came together are not fetched together for ever


def recrawl_of(url: str | None, profile: SourceProfile, *, list_of: str | None = None) -> Recrawl | None:
    """Return how soon a page of a source is fetched again; None: it is not, by itself.

    ``list_of``: of a page that only lists others, the item key of the page that named it.
    """
    of_list = list_interval(url, list_of, profile)
    if of_list is not None:
        return of_list
    least = profile.recrawl_min
    if least is None or not may_fetch(url, profile):
        return None
    return Recrawl(least, max(least, profile.recrawl_max or MOST_US))


def next_interval(before: int | None, within: Recrawl, *, changed: bool | None) -> int:
    """Return how long to leave a page alone, given how long it was before.

    Half as long when it ``changed``, half as long again when not; None: what was seen says nothing of that.
    """
    if before is None:
        return within.least_us
    grown = before if changed is None else before // 2 if changed else before + before // 2
    return max(within.least_us, min(grown, within.most_us))


def next_fetch(seen_at: int, interval_us: int, key: str) -> int:
    """Return when a page is due again that was seen then; the key decides what is added or taken away."""
    draw = zlib.crc32(key.encode(errors="replace")) / 2**32
    return seen_at + interval_us + int(interval_us * _SPREAD * (2 * draw - 1))
