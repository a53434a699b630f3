"""The ledger: every accepted payload has exactly one outcome, or is still in the stream."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from worker.store import EpochLedger
from worker.stream import Snapshot

ROUNDS = 20
PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The sum, and what explains a difference. ``difference`` > 0: that many payloads have no outcome."""

    balanced: bool
    accepted: int
    outcomes: Mapping[str, int]
    in_stream: int
    difference: int
    explained: Sequence[str] = field(default=())


class LedgerStore(Protocol):
    """What an audit reads of the store."""

    def ledger(self) -> Sequence[EpochLedger]:
        """Return the ledger of each epoch."""

    def delivered_among(self, epoch: str, entry_ids: Sequence[str]) -> set[str]:
        """Return those of the entries that have an outcome."""


class LedgerStream(Protocol):
    """What an audit reads of the stream."""

    def snapshot(self) -> Snapshot:
        """Return the counters of one instant."""

    def pending_ids(self) -> list[str]:
        """Return the entries that some consumer holds."""

    def uncounted(self) -> int:
        """Count waiting entries that are not in the accepted counter yet."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """One look at both sides. ``quiet``: nothing moved while we looked, so the numbers belong together."""

    stream: Snapshot
    ledger: Sequence[EpochLedger]
    overlap: int  # entries that have their outcome and are not acknowledged yet
    quiet: bool


def audit(stream: LedgerStream, store: LedgerStore) -> Audit:
    """Weigh what was accepted against what was done with it.

    Looks again, for two seconds at most, while the system moves; if it never holds still, only what is wrong
    whatever is on its way counts as a difference. Raises ``StoreUnavailable`` and ``StreamUnavailable``.
    """
    reading = _read(stream, store)
    for _ in range(ROUNDS):
        if reading.quiet:
            break
        time.sleep(PAUSE_SECONDS)
        reading = _read(stream, store)
    uncounted = stream.uncounted() if reading.quiet and _difference(reading) < 0 else 0
    return _weigh(reading, uncounted)


def _read(stream: LedgerStream, store: LedgerStore) -> _Reading:
    before = stream.snapshot()
    first = overlap(before, stream, store)
    ledger = store.ledger()
    second = overlap(before, stream, store)
    quiet = first == second and before == stream.snapshot()
    return _Reading(before, ledger, first, quiet)


def overlap(snapshot: Snapshot, stream: LedgerStream, store: LedgerStore) -> int:
    """Count the entries that have their outcome and are not acknowledged yet: a worker died in between."""
    if not snapshot.epoch or not snapshot.pending:
        return 0
    return len(store.delivered_among(snapshot.epoch, stream.pending_ids()))


def _difference(reading: _Reading) -> int:
    """Return accepted - delivered - waiting of the present epoch."""
    present = _of(reading, reading.stream.epoch)
    return reading.stream.accepted - present.delivered - (reading.stream.length - reading.overlap)


def _of(reading: _Reading, epoch: str | None) -> EpochLedger:
    return next((one for one in reading.ledger if one.epoch == epoch), EpochLedger(epoch or "", {}, 0))


def _weigh(reading: _Reading, uncounted: int) -> Audit:
    stream, present = reading.stream, _of(reading, reading.stream.epoch)
    past = [one for one in reading.ledger if one.epoch != stream.epoch]
    explained: list[str] = []
    difference = _difference(reading) + uncounted
    in_stream = stream.length - reading.overlap
    if uncounted:
        explained.append(f"{uncounted} waiting entries came by a bare XADD and are counted when they are done")
    if not reading.quiet:
        # An entry that was committed while we looked is in both sums: only a positive rest is beyond doubt.
        difference = max(0, stream.accepted - present.delivered - stream.length)
        in_stream = max(0, stream.accepted - present.delivered - difference)
        explained.append("the workers are busy; what is between stream and store counts as in the stream")
    if difference:
        explained.append(_about_present(stream.epoch, difference))
    for one in past:
        lost = max(0, one.accepted_noted - one.delivered)
        difference += lost
        if lost:
            explained.append(
                f"Redis lost the stream of epoch {one.epoch} with at least {lost} payloads that had no outcome yet: "
                "push again what its producers pushed last"
            )
    outcomes: Counter[str] = Counter()
    for one in reading.ledger:
        outcomes.update(one.outcomes)
    accepted = accepted_total(stream, reading.ledger) + uncounted
    return Audit(
        balanced=difference == 0,
        accepted=accepted,
        outcomes=dict(outcomes),
        in_stream=in_stream,
        difference=difference,
        explained=explained,
    )


def accepted_total(stream: Snapshot, ledger: Sequence[EpochLedger]) -> int:
    """Return how many payloads were ever accepted, over all epochs of the stream."""
    past = (one for one in ledger if one.epoch != stream.epoch)
    return stream.accepted + sum(max(one.accepted_noted, one.delivered) for one in past)


def _about_present(epoch: str | None, difference: int) -> str:
    if difference > 0:
        return f"{difference} payloads were accepted in epoch {epoch} that are neither in the stream nor in the store"
    return f"the store holds {-difference} more outcomes of epoch {epoch} than payloads were accepted"
