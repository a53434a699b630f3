"""Pages that only list others: a source's start URLs, and the sitemaps that these name.

A list is no step of the way: what it names is as deep as the list itself, so that ``max_depth`` counts from its pages.
That holds for the sitemaps of an index that is a start URL, and for no others, as they could go on without end.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Final

from tasks.steps.canonical import envelope_identity
from tasks.steps.page import Payload, Recrawl, SourceProfile, Start

LIST_PRIORITY: Final = -1  # of an item that is a list: it comes before the pages that lists name
MOST_US: Final = 86_400_000_000  # a sitemap that an index names is looked at once a day at least

_SITEMAP: Final = "sitemap"


@functools.lru_cache(maxsize=1024)
def _by_key(source: str, starts: tuple[Start, ...]) -> Mapping[str, Start]:
    return {key: one for one in starts if (key := start_key(source, one))}


def start_key(source: str, start: Start) -> str | None:
    """Return the item key of a start URL."""
    return envelope_identity(Payload(source=source, body=b"", url=start.url))


def start_of(url: str | None, profile: SourceProfile) -> Start | None:
    """Return the start URL that this URL is; None where it is none."""
    if not profile.start or not url:
        return None
    key = envelope_identity(Payload(source=profile.name, body=b"", url=url))
    return _by_key(profile.name, profile.start).get(key or "")


def named_by(parent: str | None, profile: SourceProfile) -> Start | None:
    """Return the start URL whose item key this is; None where it is none's."""
    return _by_key(profile.name, profile.start).get(parent or "") if profile.start else None


def is_list(parser: str, payload: Payload, profile: SourceProfile) -> bool:
    """Tell whether a page that was read by a parser is a list."""
    if not profile.start:
        return False
    own = payload.item is None and start_of(payload.url, profile) is not None
    return own or (parser == _SITEMAP and named_by(payload.parent, profile) is not None)


def list_interval(url: str | None, parent: str | None, profile: SourceProfile) -> Recrawl | None:
    """Return how soon a list is fetched again: a start URL as it says, a sitemap that it names the less it changes."""
    own = start_of(url, profile)
    if own is not None:
        return Recrawl(own.every, own.every, is_list=True)
    named = named_by(parent, profile)
    return Recrawl(named.every, max(named.every, MOST_US), is_list=True) if named is not None else None
