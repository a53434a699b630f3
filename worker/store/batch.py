"""A batch of arrivals as the store handles it: each stream entry once, identities and times as they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tasks.steps.dedupe import Identity
from tasks.steps.page import Arrival, FailureResult, Outcome, PageResult, Payload
from worker.store import clean


class EntryKey(NamedTuple):
    """A stream entry: epoch, and the two halves of its id."""

    epoch: str
    ms: int
    seq: int

    @classmethod
    def of(cls, epoch: str, entry_id: str) -> EntryKey:
        """Read an id such as ``1700000000000-3``."""
        ms, _, seq = entry_id.partition("-")
        return cls(clean.text(epoch), clean.whole(int(ms)), clean.whole(int(seq or 0)))

    @property
    def entry_id(self) -> str:
        """The id as Redis writes it."""
        return f"{self.ms}-{self.seq}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A payload that was parsed: one observation of a page.

    ``again``: its bytes were parsed a second time. It is then an observation of the text alone, not of the page's URL.
    """

    identity: Identity
    observed_at: int
    content_hash: str
    result: PageResult
    payload: Payload
    payload_hash: str
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A payload that could not be parsed."""

    identity: Identity
    observed_at: int
    result: FailureResult
    payload: Payload
    payload_hash: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """One stream entry with what it brought."""

    key: EntryKey
    attempt: int
    serial: int | None
    what: Sighting | Broken


@dataclass(frozen=True, slots=True)
class Effect:
    """What became of an arrival: its outcome, and the rows that hold it."""

    outcome: Outcome
    page_id: int | None = None
    failure_id: int | None = None
    given_up: bool = False  # the failure is not tried again by itself


@dataclass(frozen=True, slots=True)
class Packed:
    """A payload's bytes, compressed before the transaction begins, so that it does not hold its locks meanwhile."""

    payload_hash: str
    data: bytes = field(repr=False)
    size: int


def delivered(arrivals: Iterable[Arrival]) -> dict[EntryKey, Delivered]:
    """Return the arrivals by entry; of one that is there twice, the first."""
    entries: dict[EntryKey, Delivered] = {}
    for arrival in arrivals:
        key = EntryKey.of(arrival.epoch, arrival.entry_id)
        if key not in entries:
            what = observed(arrival.payload, arrival.payload_hash, arrival.result, arrival.observed_at)
            entries[key] = Delivered(key, arrival.attempt, arrival.serial, what)
    return entries


def observed(
    payload: Payload, payload_hash: str, result: PageResult | FailureResult, observed_at: int
) -> Sighting | Broken:
    """Say what a payload came to, under the identity and time that are stored."""
    identity = clean.identity(payload.source, result.item_key)
    time = clean.moment(observed_at)
    if isinstance(result, FailureResult):
        return Broken(identity=identity, observed_at=time, result=result, payload=payload, payload_hash=payload_hash)
    return Sighting(
        identity=identity,
        observed_at=time,
        content_hash=result.content_hash,
        result=result,
        payload=payload,
        payload_hash=payload_hash,
    )


def sightings(entries: Sequence[Delivered]) -> list[Sighting]:
    """Return the observations of pages in a batch."""
    return [one.what for one in entries if isinstance(one.what, Sighting)]


def broken(entries: Sequence[Delivered]) -> list[Broken]:
    """Return the failures in a batch."""
    return [one.what for one in entries if isinstance(one.what, Broken)]
