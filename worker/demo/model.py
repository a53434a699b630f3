"""The demo news site: every page that it serves, and the truth about what a crawl of it must find."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from worker.demo.formats import Article

SOURCE: Final = "demo"  # the name of the site's source profile


class Kind(enum.StrEnum):
    """What is special about a page."""

    ORDINARY = "ordinary"
    DUPLICATE = "duplicate"  # title and body of another page, under its own ID
    EDITED = "edited"  # ``edited`` has another paragraph
    RESHUFFLED = "reshuffled"  # ``edited`` has the same text with another related block
    SLOW = "slow"  # 1.5 s
    BUSY_ONCE = "busy_once"  # 503 with Retry-After at the first request
    CUT_ONCE = "cut_once"  # ends early at the first request
    CUT = "cut"  # always ends early
    BAD_JSON = "bad_json"  # a dump of the right length that is not JSON
    BAD_DATE = "bad_date"  # a day that does not exist
    BINARY = "binary"  # no format at all
    MISSING = "missing"  # 404
    WITHDRAWN = "withdrawn"  # 410
    BROKEN = "broken"  # always 500
    UNREACHABLE = "unreachable"  # ordinary, but no reachable page names it


# The error class that a crawl must end with, for pages that cannot be had. (``Kind`` says why.)
FAILURES: Final[Mapping[Kind, str]] = {
    Kind.CUT: "Truncated",
    Kind.BAD_JSON: "Malformed",
    Kind.BAD_DATE: "Malformed",
    Kind.BINARY: "UnknownFormat",
    Kind.MISSING: "Gone",
    Kind.WITHDRAWN: "Gone",
    Kind.BROKEN: "HttpError",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the server sends for one request."""

    status: int = 200
    content_type: str = "text/plain; charset=utf-8"
    body: bytes = field(default=b"", repr=False)
    retry_after: int | None = None  # seconds
    delay_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One ID of the site: the article behind it, and what is sent for it."""

    article: Article
    kind: Kind
    related: tuple[str, ...]  # IDs in the order of the page
    answers: tuple[Answer, ...]  # at the first request, the second, …; the last one stays
    edited: Answer | None = None  # what is sent instead after the site was edited
    edited_article: Article | None = None

    @property
    def id(self) -> str:
        """The item ID."""
        return self.article.id

    def answer(self, visit: int, *, edited: bool = False) -> Answer:
        """Return what the ``visit``-th request gets, counted from 1."""
        if edited and self.edited is not None:
            return self.edited
        return self.answers[min(visit, len(self.answers)) - 1]


@dataclass(frozen=True, slots=True)
class Visit:
    """A page as a producer has it that fetched it itself."""

    id: str
    body: bytes = field(repr=False)
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """All pages by ID, and what a crawl from ``start`` must end with."""

    seed: int
    pages: Mapping[str, Page] = field(repr=False)
    start: tuple[str, ...]
    duplicates: tuple[tuple[str, str], ...]  # (copy, original); a crawl may meet either first

    @property
    def reachable(self) -> frozenset[str]:
        """Every ID that a crawl comes to hear of: those it can have, and those that fail."""
        return frozenset(page.id for page in self.pages.values() if page.kind is not Kind.UNREACHABLE)

    @property
    def expected_failures(self) -> Mapping[str, str]:
        """The error class of each reachable ID that cannot be had."""
        return {page.id: FAILURES[page.kind] for page in self.pages.values() if page.kind in FAILURES}

    @property
    def expected_pages(self) -> frozenset[str]:
        """Each ID whose page is in the store in the end, duplicates included."""
        return self.reachable - self.expected_failures.keys()

    def of_kind(self, *kinds: Kind) -> tuple[str, ...]:
        """Return the IDs of all pages of these kinds."""
        return tuple(page.id for page in self.pages.values() if page.kind in kinds)

    def start_pages(self) -> tuple[Visit, ...]:
        """Return the pages that a producer pushes first."""
        return tuple(self._visit(item, edited=False) for item in self.start)

    def second_visit(self) -> tuple[Visit, ...]:
        """Return what a producer pushes later: every edited page, and pages whose text is as it was."""
        changed = self.of_kind(Kind.EDITED, Kind.RESHUFFLED)
        return tuple(self._visit(item, edited=True) for item in (*changed, *self.start))

    def _visit(self, item: str, *, edited: bool) -> Visit:
        answer = self.pages[item].answer(1, edited=edited)
        return Visit(item, answer.body, answer.content_type)
