"""What the tasks need from the world: one Protocol per neighbour, implemented in ``worker``.

Times are integers, microseconds since the Unix epoch, UTC. Every method may raise ``StoreUnavailable`` or
``StreamUnavailable`` (both ``Transient``) when the server behind it does not answer, and may block on it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Literal, Protocol

from tasks.steps.drift import Tally
from tasks.steps.page import (
    Arrival,
    Outcome,
    PageResult,
    Payload,
    RetryArrival,
    SourceProfile,
)
from tasks.steps.values import dataclass

if TYPE_CHECKING:  # it names leases, which stand here
    from tasks.fetch_ports import Budget


@dataclass(frozen=True, slots=True)
class Entry:
    """A stream entry as read: raw fields, not yet decoded."""

    id: str
    epoch: str
    fields: Mapping[bytes, bytes] = field(repr=False)
    deliveries: int = 1  # this one included
    serial: int | None = None  # its number among the payloads of its epoch, from 1; None for a bare XADD


@dataclass(frozen=True, slots=True)
class Settled:
    """How one arrival ended, as committed. ``fresh`` is False when an earlier delivery had already done it."""

    entry_id: str
    outcome: Outcome
    fresh: bool
    failure: int | None = None  # the failure that holds it; only told when fresh
    given_up: bool = False  # whether that failure is not tried again by itself


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How many pages of a source may fail, in this hour and the last, before the fault is ours."""

    share: float  # of what was handled, from 0 to 1
    least: int  # fewer failures than this are never too many


@dataclass(frozen=True, slots=True)
class Noted:
    """What the store knows of the present epoch."""

    accepted: int  # the highest count that was ever noted
    items_due_again: int  # items whose payloads were lost with Redis


@dataclass(frozen=True, slots=True)
class Paused:
    """A source that was paused or resumed, and why."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Drift:
    """A field of a source of which parsing finds another amount than before, or does no more (``over``)."""

    source: str
    field: str
    kind: Literal["fill", "size"]
    before: float  # the fill rate, 0 to 1; or the mean size
    after: float
    over: bool

    def sentence(self) -> str:
        """Say it."""
        if self.kind == "fill":
            return f"{self.field} of {self.source}: in {self.after:.0%} of its pages, before in {self.before:.0%}"
        return f"{self.field} of {self.source}: {self.after:,.0f} long on average, before {self.before:,.0f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemLease:
    """A frontier row that this process may fetch until ``lease_until``."""

    source: str
    item_key: str
    item: str | None
    url: str
    host: str
    depth: int
    parent: str | None  # item key of the page that named it first
    attempts: int  # failed attempts so far
    token: str
    lease_until: int
    priority: int = 0  # lower comes first
    etag: str | None = None  # of the page that is in the store
    last_modified: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureLease:
    """A stored failure that this process may try again until ``lease_until``."""

    id: int
    payload: Payload
    payload_hash: str
    observed_at: int
    error_class: str
    attempts: int
    token: str
    lease_until: int
    entry: str | None = None  # the stream entry that last brought these bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchFailure:
    """Why a fetch did not bring a page, and what follows."""

    error_class: str
    message: str
    fingerprint: str
    status: int | None
    retry_at: int | None  # None: given up
    counts: bool = True  # whether it uses up one of the item's attempts


@dataclass(frozen=True, slots=True)
class Weighed:
    """How the ledger stands. ``difference`` is 0 when it balances; while not ``quiet`` it may be more than that."""

    difference: int
    quiet: bool
    explained: Sequence[str]


class Clock(Protocol):
    """Time as an argument."""

    def now_us(self) -> int:
        """Return the time in microseconds since the epoch."""

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""


class Stream(Protocol):
    """The page stream."""

    def epoch(self) -> str:
        """Return the random value made with the stream; creates stream and group where they are missing."""

    def read(self, count: int, block_ms: int) -> list[Entry]:
        """Return up to ``count`` new entries, waiting at most ``block_ms`` for the first."""

    def reclaim(self, *, own: bool = True) -> Entry | None:
        """Take over one entry whose worker died or outlived its lease, or with ``own`` one that this process holds.

        With ``own``, call it with nothing in hand.
        """

    def ack(self, entry_ids: Sequence[str]) -> None:
        """Acknowledge and delete entries whose outcome is committed."""

    def give_back(self, entry_ids: Sequence[str]) -> None:
        """Let go of entries that were read and not begun: the next ``reclaim`` takes them, and does not count it."""

    def let_go(self) -> None:
        """Give back all that this process holds; after an answer that was lost it may hold what it never saw."""

    def push(self, payloads: Sequence[Payload], *, even_paused: bool = False) -> list[str]:
        """Append payloads; return their entry ids.

        Raises ``StreamFull`` above the high-water mark, ``SourcePaused`` unless ``even_paused``.
        """

    def of_paused(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return those of the entries whose source is paused."""

    def park(self, entries: Sequence[Entry]) -> None:
        """Put entries aside until their sources are resumed; this delivery of them is not counted."""

    def set_paused(self, reasons: Mapping[str, str]) -> None:
        """Let the stream know which sources are paused, and why: these and no others."""

    def accepted(self) -> tuple[str, int]:
        """Return the epoch and how many payloads were accepted in it."""

    def raise_accepted(self, epoch: str, accepted: int) -> None:
        """Have the epoch count no fewer payloads than were noted of it."""

    def first_id(self) -> str | None:
        """Return the id of the oldest entry; None when there is none."""

    def forget_dead_consumers(self) -> int:
        """Delete consumers that hold nothing and will not come back; return how many."""


class Store(Protocol):
    """The store, as the tasks see it. Each call is one transaction, retried whole on a conflict."""

    def ping(self) -> None:
        """Return when the store answers; raise ``StoreUnavailable`` when it does not."""

    def commit(self, arrivals: Sequence[Arrival], *, worker: str, now: int) -> list[Settled]:
        """Write outcome, page, revision, payload, items, failures and delivery records of a batch, once each."""

    def delivered_among(self, epoch: str, entry_ids: Sequence[str]) -> set[str]:
        """Return those of the entries that have an outcome."""

    def claim_failures(
        self, *, limit: int, lease_us: int, now: int, parser_versions: Mapping[str, int]
    ) -> list[FailureLease]:
        """Lease failures that are due: waiting ones whose time has come, and any open one of an older parser.

        None of a paused source.
        """

    def commit_retry(self, retry: RetryArrival, *, worker: str, now: int) -> Outcome | None:
        """Settle one leased failure; None when the lease was lost in the meantime."""

    def release_failure(self, lease: FailureLease) -> None:
        """Give a leased failure back as it was: nothing was tried."""

    def pause_past_ceiling(
        self, sources: Collection[str], ceiling: Ceiling, *, epoch: str, parser_versions: Mapping[str, int], now: int
    ) -> list[Paused]:
        """Pause those of the sources whose failures are past the ceiling; return the ones that were not paused yet."""

    def resume_newer(self, *, epoch: str, parser_versions: Mapping[str, int], now: int) -> list[Paused]:
        """Resume what the ceiling paused under older parsers; return which."""

    def paused_sources(self) -> Mapping[str, str]:
        """Return why each paused source is paused, by name."""

    def add_fields(self, found: Mapping[str, Mapping[str, Tally]], *, span: int) -> None:
        """Add what pages had of each field, by source, to a span's counts; see ``steps.drift``."""

    def watch_fields(self, *, now: int) -> Iterator[Drift]:
        """Hold each source's last pages against those before; yield what broke since the last time, and is over.

        Source by source, so that what was found is told though the store goes away in between.
        """

    def note_accepted(self, *, epoch: str, accepted: int, first_waiting: str | None, now: int) -> Noted:
        """Note the epoch's accepted count, which only grows; make items due again whose payloads Redis has lost.

        ``first_waiting`` is the oldest entry of the stream, None for an empty one.
        """

    def upkeep(self, *, now: int) -> Mapping[str, int]:
        """Free expired leases, and return what was done, by name."""

    def tidy(
        self, *, deliveries_us: int, payloads_us: int, first_waiting: str | None, now: int
    ) -> tuple[Mapping[str, int], bool]:
        """Fold sums and delete what is older than that (0: nothing), a small portion of each, a transaction each.

        ``first_waiting`` is the first id in the stream: no delivery from there on is deleted. Returns what was done,
        by name, and whether there is more to do.
        """

    def compare_texts(self, *, now: int) -> tuple[Mapping[str, int], bool]:
        """Compare a portion of the texts that have not been yet, to find those that are nearly the same.

        Returns what was done, by name, and whether there is more to do.
        """

    def take_turn(self, name: str, *, every_us: int, now: int) -> bool:
        """Tell whether this process is to do what one of all processes does in ``every_us``."""

    def noted(self, name: str) -> str:
        """Return what was noted under the name of such a turn; empty at first."""

    def note(self, name: str, what: str) -> None:
        """Note something under the name of a turn that was taken."""


class Scales(Protocol):
    """The ledger's sums, of stream and store."""

    def weigh(self) -> Weighed:
        """Weigh what was accepted against what was done with it; blocks for half a second while workers are busy."""


class Sandbox(Protocol):
    """Parsing in a process of its own, for pages that may end it."""

    def understand(self, payload: Payload, profile: SourceProfile) -> PageResult:
        """Parse a page, as ``tasks.guard.guarded`` does.

        Raises ``Permanent``: the parsers' errors, ``TimeLimit``, ``MemoryLimit``, or ``Poison`` when the page ended the
        process. Raises ``Undecided`` when something else may have ended it, and the next call with this page is the
        next trial; ``SandboxAway`` when there was no trial. Blocks for as long as a trial may take.
        """


class Profiles(Protocol):
    """The source profiles."""

    def get(self, source: str) -> SourceProfile:
        """Return the source's profile, or the default one under its name."""

    def names(self) -> Sequence[str]:
        """Return the names of the sources that have a profile."""

    def budgets(self) -> Mapping[str, Budget]:
        """Return how much may be fetched of each of them."""
