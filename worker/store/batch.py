"""A batch of arrivals as the store handles it: each stream entry once, identities and times as they are stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import NamedTuple

from tasks.steps.dedupe import Identity
from tasks.steps.page import Arrival, FailureResult, Outcome, PageResult, Payload
from tasks.steps.values import dataclass
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


class Sighting(NamedTuple):
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

    @property
    def named(self) -> Identity | None:
        """The identity that its envelope tells, where the page declares another: its failures stand under that one."""
        key = self.result.envelope_key
        return None if key is None or self.again else clean.identity(self.payload.source, key)


class Broken(NamedTuple):
    """A payload that could not be parsed."""

    identity: Identity
    observed_at: int
    result: FailureResult
    payload: Payload
    payload_hash: str


class Delivered(NamedTuple):
    """One stream entry with what it brought."""

    key: EntryKey
    attempt: int
    serial: int | None
    what: Sighting | Broken


class Effect(NamedTuple):
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


def delivered(arrivals: Iterable[Arrival]) -> list[Delivered]:
    """Return what each arrival brings, in their order."""
    return [
        Delivered(
            EntryKey.of(one.epoch, one.entry_id),
            one.attempt,
            one.serial,
            observed(one.payload, one.payload_hash, one.result, one.observed_at),
        )
        for one in arrivals
    ]


def observed(
    payload: Payload, payload_hash: str, result: PageResult | FailureResult, observed_at: int
) -> Sighting | Broken:
    """Say what a payload came to, under the identity and time that are stored."""
    identity = clean.identity(payload.source, result.item_key)
    time = clean.moment(observed_at)
    if isinstance(result, FailureResult):
        return Broken(identity, time, result, payload, payload_hash)
    return Sighting(identity, time, result.content_hash, result, payload, payload_hash)
