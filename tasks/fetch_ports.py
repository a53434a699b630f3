"""What fetching needs from the world: the gate that all workers share, HTTP, and what the store knows of hosts.

Times are integers, microseconds since the Unix epoch, UTC, unless a name says seconds. A host is ``host[:port]`` in
lower case, without a port that is the scheme's default; an origin is ``scheme://host[:port]``.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from tasks.ports import FetchFailure, ItemLease
from tasks.steps.page import ItemState, Recrawl

WhyLess = Literal["", "pace", "concurrency", "paused", "down"]


class Answered(enum.StrEnum):
    """What a request says of its host."""

    OK = "ok"
    SLOW_DOWN = "slow_down"  # 429, or 503
    DOWN = "down"  # not reached, or no answer in time
    UNUSED = "unused"  # no request was made
    CANCELLED = "cancelled"  # nothing: it was not waited for


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many requests to a host somebody would make, and how it is to be treated."""

    host: str
    count: int
    delay_us: int  # the least time between two requests: the source's, or what robots.txt asks for
    concurrency: int  # requests under way at the same time, over all workers
    until: int = 0  # the store knows that the host is to be left alone until then


@dataclass(frozen=True, slots=True)
class Slot:
    """The right to make one request to a host, not before ``start``."""

    host: str
    token: str
    start: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What the gate allows of what was wanted; where that is less, why, and when to ask again."""

    host: str
    slots: tuple[Slot, ...]
    reason: WhyLess = ""
    again_at: int = 0


@dataclass(frozen=True, slots=True)
class SlotEnd:
    """How a slot was used."""

    slot: Slot
    how: Answered
    latency_us: int = 0  # from the request to the head of its answer
    late_us: int = 0  # how long after its start it was used: the next one is that much later
    retry_after_us: int = 0  # what the host asked for


@dataclass(frozen=True, slots=True)
class HostPause:
    """A host that is to be left alone for a while."""

    host: str
    until: int
    reason: Literal["asked", "down", "robots"]  # Retry-After, the breaker, or a robots.txt that cannot be had


@dataclass(frozen=True, slots=True)
class HostView:
    """How a host stands at the gate."""

    host: str
    next_at: int
    delay_us: int  # what lies between two requests now
    latency_us: int  # moving average
    under_way: int
    failures: int  # in a row
    breaker: Literal["closed", "open", "probing"]
    until: int  # paused or open until then; 0: not


class Gate(Protocol):
    """Spaces the requests to each host, over all workers. Raises ``StreamUnavailable`` when Redis does not answer."""

    def admit(self, wanted: Sequence[Wanted], *, horizon_us: int) -> list[Grant]:
        """Grant slots that start within ``horizon_us``, a grant for each that is wanted, in their order."""

    def report(self, ended: Sequence[SlotEnd]) -> list[HostPause]:
        """Give slots back and learn from how they were used; return what is to be left alone from now on."""

    def look(self, hosts: Collection[str]) -> Mapping[str, HostView]:
        """Return how hosts stand; those of which nothing is known are left out."""


@dataclass(frozen=True, slots=True)
class Request:
    """One GET request."""

    token: str  # the caller's
    url: str
    hosts: tuple[str, ...]  # the only ones that may be asked
    private_hosts: tuple[str, ...] = ()  # of them, those that may have a private address
    start: int = 0  # not before
    etag: str | None = None
    last_modified: str | None = None
    max_bytes: int | None = None  # instead of the fetcher's own limit
    robots: bool = (
        False  # a robots.txt: what is beyond the limit is left out, and it may be anywhere (RFC 9309, 2.3.1.2)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """An answer with status 200."""

    url: str
    status: int
    body: bytes = field(repr=False)  # without its content coding
    content_type: str | None
    fetched_at: datetime  # aware, UTC
    etag: str | None = None
    last_modified: str | None = None
    max_age: int | None = None  # seconds; of Cache-Control
    request_head: bytes = field(default=b"", repr=False)  # as they were on the wire; for the archive
    response_head: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotModified:
    """Status 304: what was fetched before is still so."""

    url: str
    fetched_at: datetime
    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """Where the host says that the page is, on one of the request's hosts.

    Neither the gate nor robots.txt has been asked about it, and no name was looked up.
    """

    url: str
    to: str  # absolute, as the frontier writes URLs
    status: int


Answer = Fetched | NotModified | Redirect | Exception


@dataclass(frozen=True, slots=True)
class Done:
    """A request that ended. Our own errors have ``url``, ``status`` and, of a host that throttles, ``retry_after``."""

    request: Request
    answer: Answer
    latency_us: int
    late_us: int = 0  # how long after the start of its slot it was made


class Fetcher(Protocol):
    """HTTP, many requests at a time."""

    def start(self, requests: Sequence[Request]) -> None:
        """Begin requests, each at its time; returns at once."""

    def ended(self, timeout: float) -> list[Done]:
        """Return all requests that ended since the last call; wait for one, at most ``timeout`` seconds."""

    def under_way(self) -> int:
        """Return how many requests have not been returned by ``ended`` yet."""

    def cancel(self) -> list[Request]:
        """End all requests and return those that had no answer yet; none of them comes from ``ended``."""


class Archive(Protocol):
    """Keeps what was fetched as it was."""

    def keep(self, answers: Sequence[Fetched]) -> None:
        """Write answers and their requests down. Raises ``ArchiveUnavailable``."""


@dataclass(frozen=True, slots=True)
class HostDue:
    """A host at which items of a source are due, and the URL of one of them."""

    source: str
    host: str
    url: str


@dataclass(frozen=True, slots=True)
class Planted:
    """A start URL as the frontier has it."""

    source: str
    item_key: str
    url: str
    host: str
    every: int  # microseconds


@dataclass(frozen=True, slots=True)
class RobotsRow:
    """What is known of an origin's robots.txt."""

    origin: str
    state: Literal["found", "none", "unavailable"]
    body: str | None = field(repr=False)  # only of one that was found
    status: int | None
    fetched_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Budget:
    """How many items of a source may be fetched in a run, and on a day (UTC); None: no bound."""

    run: int | None
    day: int | None = None


@dataclass(frozen=True, slots=True)
class ItemPushed:
    """An item whose payload is in the stream."""

    lease: ItemLease
    entry: str


@dataclass(frozen=True, slots=True)
class ItemUnchanged:
    """An item of which its host says that it is as it was."""

    lease: ItemLease
    etag: str | None  # as the answer has them; None leaves what was known
    last_modified: str | None
    recrawl: Recrawl | None  # as ``steps.recrawl`` tells by the profile


@dataclass(frozen=True, slots=True)
class ItemFailed:
    """An item that could not be fetched."""

    lease: ItemLease
    failure: FetchFailure
    recrawls: bool  # whether the item, where it has an interval, is fetched again at it, as its profile says now


@dataclass(frozen=True, slots=True)
class ItemPostponed:
    """An item that goes back untouched."""

    lease: ItemLease
    until: int


ItemEnd = ItemPushed | ItemUnchanged | ItemFailed | ItemPostponed


class Frontier(Protocol):
    """The store's part: items as work, and what is known of hosts. Each call is one transaction.

    A paused source has no part in it. Where ``budgets`` does not name a source, the default profile's bounds hold.
    """

    def hosts_due(
        self, *, after: tuple[str, str] | None, limit: int, run: str, budgets: Mapping[str, Budget], now: int
    ) -> list[HostDue]:
        """Return up to ``limit`` hosts with due items, in their order, on from ``after`` and round to it again.

        None of a source whose budget is used up. Wakes a portion of the items whose time has come, or whose lease ran
        out.
        """

    def claim_items(
        self,
        *,
        shares: Mapping[tuple[str, str], int],
        budgets: Mapping[str, Budget],
        run: str,
        lease_us: int,
        now: int,
    ) -> list[ItemLease]:
        """Lease up to so many due items of each (source, host), the most urgent ones, within the budgets.

        Returns all in the order of their urgency: by priority, by depth, by how long they have been due.
        A lease counts in its source's budgets until it is settled as postponed, or as a failure that does not count.
        """

    def settle_items(self, ends: Sequence[ItemEnd], *, worker: str, now: int) -> list[ItemState | None]:
        """Note how leases ended; return each item's state, None where the lease was lost and nothing was noted.

        An item that is to be fetched again by itself is not given up by a failure, but waits as long as it did before.
        """

    def plant(self, starts: Sequence[Planted], *, now: int) -> int:
        """Make start URLs due that are new, that were given up their interval ago, or that wait for longer than it.

        Returns how many.
        """

    def robots(self, origins: Collection[str]) -> Mapping[str, RobotsRow]:
        """Return what is known of robots.txt at these origins."""

    def put_robots(self, row: RobotsRow) -> None:
        """Note what is known of an origin's robots.txt."""

    def pause_hosts(self, pauses: Sequence[HostPause], *, now: int) -> None:
        """Note hosts that are to be left alone; of two pauses of a host, the longer one stays."""

    def host_pauses(self, hosts: Collection[str], *, now: int) -> Mapping[str, HostPause]:
        """Return those of the hosts that are to be left alone now."""
