"""The values that travel through the flow; each type's name says which stage it belongs to.

``Payload`` (arrived) → ``ParsedPage`` (understood) → ``Arrival`` (what one delivery asks the store to do).
Bytes and texts never show in a ``repr``, so that they cannot leak into a log or a dashboard. All are frozen for the
type checker; what a parser is handed is so when the program runs, too, as a plug-in may be anything.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Final, Literal

from tasks.steps.values import dataclass

MediaKind = Literal["image", "video"]
DateOrder = Literal["dmy", "mdy"]
Tier = Literal[
    "profile", "structured", "fast", "careful"
]  # where the profile says; else of the cascade in parse/body.py
Bound = Literal["depth", "page", "trap"]  # why an item is not followed: too deep, too many, or without an end


class Outcome(enum.StrEnum):
    """The closed set of ways in which a delivery ends."""

    NEW = "new"
    REVISION = "revision"
    UNCHANGED = "unchanged"
    DUPLICATE = "duplicate"
    FAILED = "failed"


LOCATION: Final = "location"  # the field of an envelope that tells where redirects led to from its URL


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """One page as its producer pushed it: the envelope and the bytes, nothing interpreted."""

    source: str
    body: bytes = field(repr=False)
    item: str | None = None
    url: str | None = None
    fetched_at: datetime | None = None  # aware, UTC
    content_type: str | None = None
    status: int | None = None
    depth: int = 0
    parent: str | None = None  # item key of the page that named this one
    extra: Mapping[str, str] = field(default_factory=dict)  # fields of the envelope that we do not know
    # The body as its producer packed it, a zstd frame that says its size; whoever changes the body leaves it out.
    frame: bytes | None = field(default=None, repr=False, compare=False)

    @property
    def base(self) -> str | None:
        """The URL that relative ones of the page are relative to (RFC 3986, section 5.1.3)."""
        return self.extra.get(LOCATION) or self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """One entry of a page's list of related items, in the order of the page."""

    id: str
    title: str | None = None  # with its tags, as the page has it
    tags: tuple[str, ...] = ()  # upper case, without the colon: PHOTOS, VDO, VIDEO, URGENT
    media_kind: MediaKind | None = None
    media_path: str | None = None
    uploaded_at: datetime | None = None  # aware, UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedPage:
    """What a parser understood. A field that the page does not have is None or empty, never guessed."""

    parser: str
    parser_version: int
    title: str | None = None
    published_at: datetime | None = None  # aware, in the zone of the page, else of the source
    published_raw: str | None = None
    paragraphs: tuple[str, ...] = field(default=(), repr=False)
    wire_service: str | None = None
    desk_code: str | None = None
    language: str | None = None
    authors: tuple[str, ...] = ()
    related: Sequence[Related] = field(default=(), repr=False)
    canonical_url: str | None = None  # as the page declares it, absolute
    modified_at: datetime | None = None  # as published_at
    section: str | None = None
    tags: tuple[str, ...] = ()
    image: str | None = None  # the lead image's URL, absolute
    outlinks: tuple[str, ...] = field(default=(), repr=False)  # absolute, each once
    tier: Tier | None = None  # how the body of an HTML page was found
    repaired: int = 0  # bytes that are no UTF-8 in a page that else is, and were read as Windows-1252


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a field stands in the pages of a source, and what of that is the value; see ``parse.places``."""

    select: str  # a CSS selector; in JSON a JMESPath expression
    attribute: str | None = None  # of the element, whose text is the value else
    pattern: str | None = None  # a regular expression; what its one group finds is the value


# The fields that a profile may give places, by the kind of page.
JSON_FIELDS: Final = (
    "title", "published_at", "modified_at", "paragraphs", "authors", "language", "section", "tags", "image",
    "canonical_url", "wire_service", "desk_code", "related",
)  # fmt: skip
HTML_FIELDS: Final = (*JSON_FIELDS, "outlinks", "remove")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A URL that a source is looked at again and again by: a list page, a feed, a sitemap or an index of such."""

    url: str
    every: int  # microseconds
    parser: str | None = None  # None: by its content, and an HTML page as a list of links


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SourceProfile:
    """What is known of one source. Loaded and checked by ``worker.sources``; the default fits any source."""

    name: str
    hosts: tuple[str, ...] = ()  # hosts that follow-ups may be fetched from; empty: the host of item_url
    timezone: str = "UTC"  # IANA name; for dates without a zone
    date_order: DateOrder | None = None  # of dates in figures, as 02/03/2024; None: the language's
    parser: str | None = None  # vardump | html | json | feed; None: by content type and sniffing
    # Where fields stand, by their names; of several places the first one where the field is. ``remove``: all of them.
    html: Mapping[str, tuple[Place, ...]] = field(default_factory=dict, hash=False)
    json: Mapping[str, tuple[Place, ...]] = field(default_factory=dict, hash=False)
    start: tuple[Start, ...] = ()  # where the source is looked for pages
    item_url: str | None = None  # template of a related item's URL, with {id}
    max_depth: int = 0  # how far from a pushed page follow-ups go; 0: none
    max_items_per_page: int = 50
    max_items_per_list: int = 50_000  # of a start URL, or of a sitemap that one names
    max_items_per_run: int | None = 10_000  # fetches in one run of the workers; None: no bound
    max_items_per_day: int | None = None  # fetches on one day, UTC; None: no bound
    recrawl_min: int | None = None  # microseconds until a page is fetched again, at least; None: it is not
    recrawl_max: int | None = None  # at most; None: thirty days
    delay_seconds: float = 1.0  # between two requests to one host
    concurrency: int = 1  # requests to one host at the same time
    max_attempts: int = 5  # per item (fetch) and per failure (retry)
    retries: Mapping[str, int] = field(default_factory=dict, hash=False)  # by error class, in place of policy.BUDGETS
    allow_private_hosts: tuple[str, ...] = ()  # hosts that may be on loopback or a private address, by name
    version: str | None = None  # names what of it decides how a page is read; None: nothing does


class ItemState(enum.StrEnum):
    """Where a row of the frontier stands."""

    DUE = "due"  # may be fetched now
    SCHEDULED = "scheduled"  # may be fetched from next_fetch_at on
    LEASED = "leased"  # a fetch task has it
    PUSHED = "pushed"  # fetched, its payload is in the stream
    FETCHED = "fetched"  # its page is in the store; with next_fetch_at it is due again then
    FAILED = "failed"  # given up, see its failure
    GONE = "gone"  # 404 or 410
    UNROUTABLE = "unroutable"  # the source has no URL template
    BOUNDED = "bounded"  # beyond a bound of the source


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveredItem:
    """A related ID or URL that a page names, with what the source's bounds say of it."""

    item_key: str  # the item ID, or the canonical URL
    item: str | None
    url: str | None  # where to fetch it; None when unroutable
    host: str | None  # lower-case host[:port] of url
    depth: int
    state: ItemState  # DUE, UNROUTABLE or BOUNDED
    bound: Bound | None = None  # of a BOUNDED one


@dataclass(frozen=True, slots=True)
class Recrawl:
    """How soon a page is fetched again, at the soonest and the latest; microseconds."""

    least_us: int
    most_us: int
    is_list: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PageResult:
    """A payload that was parsed, with all that the decision and the store need."""

    page: ParsedPage
    item_key: str  # the identity within the source
    content_hash: str  # hex; see fingerprint.content_hash
    envelope_key: str | None = None  # the identity that the envelope alone tells, where the page declares another
    discovered: tuple[DiscoveredItem, ...] = ()
    profile_version: str | None = None  # of the profile that it was read with
    recrawl: Recrawl | None = None  # None: it is not fetched again by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureResult:
    """A payload that could not be parsed. ``retry_at`` None means dead at once."""

    error_class: str
    message: str
    fingerprint: str  # hex; error class + top frame of ours + source
    item_key: str  # the identity as far as the envelope tells it, else raw:<payload hash>
    parser: str | None
    parser_version: int
    traceback: str | None = field(default=None, repr=False)
    retry_at: int | None = None  # microseconds since the epoch, UTC
    recrawls: bool = True  # whether its item, where it has an interval, is fetched again at it


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One stream entry after the pure steps: what the store is to commit for it, exactly once."""

    epoch: str
    entry_id: str  # "<ms>-<seq>"
    attempt: int  # how often the entry was delivered, from 1
    observed_at: int  # microseconds since the epoch, UTC: when the page was in this state
    payload: Payload
    payload_hash: str  # hex sha256 of the body
    result: PageResult | FailureResult
    serial: int | None = None  # the payload's number in its epoch; None where its producer did not count it


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryArrival:
    """A stored failure tried again from its bytes; commits like an ``Arrival`` or moves the failure on."""

    failure_id: int
    lease_token: str
    observed_at: int
    payload: Payload
    payload_hash: str
    result: PageResult | FailureResult
    refetch_at: int | None = None  # microseconds; also make the item due then (only with a FailureResult)
    entry: str | None = None  # the stream entry that last brought these bytes
