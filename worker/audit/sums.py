"""What was accepted against what was done with it, for each epoch of the stream.

A bare XADD is in the stream before it is counted: while it waits, it may hide a payload that is missing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from worker.store import EpochLedger, Run
from worker.stream import Held, Snapshot

ROUNDS = 20
PAUSE_SECONDS = 0.1


class LedgerStore(Protocol):
    """What an audit needs of the store."""

    def ledger(self) -> Sequence[EpochLedger]:
        """Return the ledger of each epoch."""

    def delivered_among(self, epoch: str, entry_ids: Sequence[str]) -> set[str]:
        """Return those of the entries that have an outcome."""

    def serial_runs(self, epoch: str) -> Sequence[Run]:
        """Return which serial numbers the deliveries of an epoch have."""

    def serial_entries(self, epoch: str, first: int, last: int, *, limit: int) -> Sequence[tuple[str, int]]:
        """Return (entry, serial number) of deliveries with such numbers."""

    def acknowledge(self, differences: Mapping[str, int], *, note: str, now: int) -> None:
        """Add to the differences that are known and accepted, by epoch."""


class LedgerStream(Protocol):
    """What an audit reads of the stream."""

    def snapshot(self) -> Snapshot:
        """Return the counters of one instant."""

    def pending_ids(self) -> list[str]:
        """Return the entries that some consumer holds."""

    def parked_again(self) -> list[str]:
        """Return parked entries that were delivered before."""

    def numbers(self) -> Iterator[tuple[str, str | None, int | None]]:
        """Yield (entry, epoch, serial number) of each entry; Nones where it is not counted yet."""

    def uncounted(self) -> int:
        """Count waiting entries that are not in the accepted counter yet."""

    def held(self) -> Sequence[Held]:
        """Return entries that a consumer has."""

    def overdue(self) -> Sequence[Held]:
        """Return entries that were not acknowledged within their lease."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at both sides. ``quiet``: nothing moved while we looked, so the numbers belong together."""

    stream: Snapshot
    ledger: Sequence[EpochLedger]
    committed: frozenset[str]  # entries that have their outcome and are not acknowledged yet
    quiet: bool
    uncounted: int = 0  # bare entries in the stream, which are counted when they are done; known where it matters


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochSum:
    """The sum of one epoch: ``accepted = delivered + waiting + acknowledged + difference``."""

    epoch: str
    present: bool
    accepted: int
    delivered: int
    waiting: int
    acknowledged: int
    note: str | None
    difference: int


def read(stream: LedgerStream, store: LedgerStore, *, rounds: int = ROUNDS) -> Reading:
    """Look at both sides; again, up to so many times, while the system moves."""
    reading = _read(stream, store)
    for _ in range(rounds):
        if reading.quiet:
            break
        time.sleep(PAUSE_SECONDS)
        reading = _read(stream, store)
    return reading


def _read(stream: LedgerStream, store: LedgerStore) -> Reading:
    before = stream.snapshot()
    first = _committed(before, stream, store)
    ledger = store.ledger()
    second = _committed(before, stream, store)
    reading = Reading(before, ledger, first, first == second and before == stream.snapshot())
    if not reading.quiet or _present(reading).difference >= 0:
        return reading
    uncounted = stream.uncounted()
    return replace(reading, uncounted=uncounted, quiet=before == stream.snapshot())


def overlap(snapshot: Snapshot, stream: LedgerStream, store: LedgerStore) -> int:
    """Count the entries that have their outcome and are not acknowledged yet: a worker died in between."""
    return len(_committed(snapshot, stream, store))


def _committed(snapshot: Snapshot, stream: LedgerStream, store: LedgerStore) -> frozenset[str]:
    if not snapshot.epoch or not snapshot.pending + snapshot.parked:
        return frozenset()
    held = stream.pending_ids() if snapshot.pending else []
    if snapshot.parked:
        held = [*held, *stream.parked_again()]
    return frozenset(store.delivered_among(snapshot.epoch, held)) if held else frozenset()


def weigh(reading: Reading) -> list[EpochSum]:
    """Return the sum of each epoch, the present one last."""
    return [*(_past(one) for one in reading.ledger if one.epoch != reading.stream.epoch), _present(reading)]


def _present(reading: Reading) -> EpochSum:
    one = _of(reading.ledger, reading.stream.epoch)
    return _quiet(reading, one) if reading.quiet else _busy(reading.stream, one)


def _past(one: EpochLedger) -> EpochSum:
    """Weigh an epoch whose stream is gone, of which the accepted count is known as it was noted last."""
    accepted = max(one.accepted_noted, one.delivered + min(0, one.acknowledged))
    acknowledged = min(one.acknowledged, accepted - one.delivered)  # what came late after all needs none
    lost = accepted - one.delivered - acknowledged
    one = replace(one, acknowledged=acknowledged)
    return _sum(one, present=False, accepted=accepted, waiting=0, difference=lost)


def _quiet(reading: Reading, one: EpochLedger) -> EpochSum:
    """Weigh the present epoch; its accepted count only grows, so what was noted of it is the least that it may be."""
    accepted = max(reading.stream.accepted, one.accepted_noted) + reading.uncounted
    waiting = reading.stream.length - len(reading.committed)
    difference = accepted - one.delivered - waiting - one.acknowledged
    return _sum(one, present=True, accepted=accepted, waiting=waiting, difference=difference)


def _busy(snapshot: Snapshot, one: EpochLedger) -> EpochSum:
    """Weigh the present epoch while it moves.

    The deliveries were read after the stream, so an entry that was committed meanwhile is in both sums: only what is
    missing all the same is beyond doubt.
    """
    least = snapshot.accepted - one.delivered - snapshot.length
    difference = max(0, least - one.acknowledged)
    waiting = max(0, snapshot.accepted - one.delivered - difference - one.acknowledged)
    accepted = one.delivered + waiting + difference + one.acknowledged
    return _sum(one, present=True, accepted=accepted, waiting=waiting, difference=difference)


def _sum(one: EpochLedger, *, present: bool, accepted: int, waiting: int, difference: int) -> EpochSum:
    return EpochSum(
        epoch=one.epoch,
        present=present,
        accepted=accepted,
        delivered=one.delivered,
        waiting=waiting,
        acknowledged=one.acknowledged,
        note=one.acknowledged_note,
        difference=difference,
    )


def accepted_total(stream: Snapshot, ledger: Sequence[EpochLedger]) -> int:
    """Return how many payloads were ever accepted, over all epochs of the stream."""
    past = (_past(one).accepted for one in ledger if one.epoch != stream.epoch)
    return max(stream.accepted, _of(ledger, stream.epoch).accepted_noted) + sum(past)


def _of(ledger: Sequence[EpochLedger], epoch: str | None) -> EpochLedger:
    return next((one for one in ledger if one.epoch == epoch), EpochLedger(epoch or "", {}, 0))
