"""Does parsing still find in a source's pages what it used to find? Fill rates and sizes against their baseline.

A site that changes its template fails no page: its titles are merely gone, or its texts are a third as long. So what
is found is counted by source and field, and the last pages are held against those of the two weeks before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

from tasks.steps.page import ParsedPage

Kind = Literal["fill", "size"]

BUCKET_US: Final = 3 * 3_600_000_000  # pages are counted by spans of three hours
RECENT: Final = 8  # spans at most that count as now: a day
BASELINE: Final = 14 * 8  # spans before them
LEAST_RECENT: Final = 50  # pages; fewer say nothing
LEAST_BASELINE: Final = 200
_DROP: Final = 0.2  # of a fill rate
_DEVIATIONS: Final = 4.0  # of the difference, were nothing changed
_TIMES: Final = 2.0  # a mean size that is so many times the old one, or the old one so many times it


class Tally(NamedTuple):
    """What was found of one field: pages looked at, those that had it, and how much of it they had in all."""

    pages: int = 0
    filled: int = 0
    size: int = 0

    def __add__(self, other: object) -> Tally:
        """Return both together."""
        if not isinstance(other, Tally):
            return NotImplemented
        return Tally(self.pages + other.pages, self.filled + other.filled, self.size + other.size)

    @property
    def share(self) -> float:
        """The fill rate, 0 to 1."""
        return self.filled / self.pages if self.pages else 0.0

    @property
    def mean(self) -> float:
        """The mean size where the field is filled: characters of a text, entries of a list."""
        return self.size / self.filled if self.filled else 0.0


# How much of each field a page has; 0 where it is not there. The size of what is there or not is 1.
FIELDS: Final[Mapping[str, Callable[[ParsedPage], int]]] = {
    "title": lambda page: len(page.title or ""),
    "published_at": lambda page: page.published_at is not None,
    "paragraphs": lambda page: sum(map(len, page.paragraphs)),
    "wire_service": lambda page: page.wire_service is not None,
    "desk_code": lambda page: page.desk_code is not None,
    "language": lambda page: page.language is not None,
    "authors": lambda page: len(page.authors),
    "related": lambda page: len(page.related),
    "canonical_url": lambda page: page.canonical_url is not None,
    "modified_at": lambda page: page.modified_at is not None,
    "section": lambda page: page.section is not None,
    "tags": lambda page: len(page.tags),
    "image": lambda page: page.image is not None,
    "outlinks": lambda page: len(page.outlinks),
}
_FIELDS: Final = tuple(FIELDS.values())


def sizes(page: ParsedPage) -> tuple[int, ...]:
    """Return how much of each of ``FIELDS`` a page has, in their order."""
    return tuple([size(page) for size in _FIELDS])


def tallies(found: Iterable[tuple[int, ...]]) -> dict[str, Tally]:
    """Return the tally of each field over pages, given as ``sizes`` returns them."""
    columns = zip(*found, strict=True)
    return {
        name: Tally(len(column), len(column) - column.count(0), sum(column))
        for name, column in zip(FIELDS, columns, strict=False)
    }


def split(spans: Mapping[int, Tally], now: int) -> tuple[Tally, Tally]:
    """Return what the last pages came to, and what those before them did; ``now`` is the present span.

    As many spans count as now as it takes to see enough pages, but a day's at most.
    """
    recent, at = Tally(), now
    while at > now - RECENT and recent.pages < LEAST_RECENT:
        recent += spans.get(at, Tally())
        at -= 1
    return recent, sum((tally for span, tally in spans.items() if at - BASELINE < span <= at), Tally())


def drifted(kind: Kind, before: Tally, after: Tally) -> bool:
    """Tell whether a field's fill rate fell, or its mean size changed, beyond what chance and news bring."""
    if before.pages < LEAST_BASELINE or after.pages < LEAST_RECENT:
        return False
    return _fell(before, after) if kind == "fill" else _resized(before, after)


def kinds() -> Iterator[tuple[str, Kind]]:
    """Yield each field with what is watched of it."""
    for name in FIELDS:
        yield name, "fill"
        yield name, "size"


def _fell(before: Tally, after: Tally) -> bool:
    """Test two proportions, pooled: https://en.wikipedia.org/wiki/Two-proportion_Z-test."""
    drop = before.share - after.share
    pooled = (before + after).share
    error = math.sqrt(pooled * (1 - pooled) * (1 / before.pages + 1 / after.pages))
    return drop >= _DROP and drop >= _DEVIATIONS * error


def _resized(before: Tally, after: Tally) -> bool:
    if before.filled < LEAST_BASELINE or after.filled < LEAST_RECENT:
        return False
    return not before.mean / _TIMES <= after.mean <= before.mean * _TIMES
