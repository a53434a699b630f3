"""The audit as it is told to a person and to a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tasks.errors import Transient
from tasks.steps.page import Outcome
from worker.audit.search import Forgotten, Found, Hole, find, pushed_at
from worker.audit.sums import ROUNDS, EpochSum, LedgerStore, LedgerStream, Reading, read, weigh
from worker.stream import Held

One = TypeVar("One")

TOLD = 20  # of each kind, one by one, in sentences


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The sum, and what explains a difference. ``difference`` > 0: that many payloads have no outcome.

    ``accepted = outcomes + in_stream + acknowledged + difference``. ``missing`` are the payloads that are neither in
    the stream nor in the store, as ranges of serial numbers; ``forgotten`` entries with an outcome that Redis does not
    know any more; ``unacknowledged`` entries that have their outcome and are still in the stream; ``overdue`` entries
    that a consumer has had for longer than its lease.
    """

    balanced: bool
    accepted: int
    outcomes: Mapping[str, int]
    in_stream: int
    difference: int
    explained: Sequence[str] = field(default=())
    acknowledged: int = 0
    quiet: bool = True
    pending: int = 0
    parked: int = 0
    oldest_entry: str | None = None
    missing: Sequence[Hole] = field(default=())
    missing_count: int = 0
    forgotten: Sequence[Forgotten] = field(default=())
    unacknowledged: Sequence[Held] = field(default=())
    overdue: Sequence[Held] = field(default=())


def audit(stream: LedgerStream, store: LedgerStore, *, rounds: int = ROUNDS, search: bool = True) -> Audit:
    """Weigh what was accepted against what was done with it, and search for what is missing where that differs.

    Looks again, for two seconds at most, while the system moves; if it never holds still, only what is wrong
    whatever is on its way counts as a difference. Raises ``StoreUnavailable`` and ``StreamUnavailable``.
    """
    reading = read(stream, store, rounds=rounds)
    sums = weigh(reading)
    found = find(stream, store, sums[-1].epoch) if search and sums[-1].difference else Found()
    overdue = stream.overdue() if search and reading.stream.pending else ()
    committed = _committed(reading, stream) if search else ()
    difference = sum(one.difference for one in sums)
    return Audit(
        balanced=not any(one.difference for one in sums),
        accepted=sum(one.accepted for one in sums),
        outcomes=_outcomes(reading),
        in_stream=sum(one.waiting for one in sums),
        difference=difference,
        explained=[*_sentences(reading, sums, found), *_about_held(reading, committed, overdue)],
        acknowledged=sum(one.acknowledged for one in sums),
        quiet=reading.quiet,
        pending=reading.stream.pending,
        parked=reading.stream.parked,
        oldest_entry=reading.stream.first_id,
        missing=found.holes,
        missing_count=found.missing,
        forgotten=found.forgotten,
        unacknowledged=committed,
        overdue=overdue,
    )


def acknowledge(stream: LedgerStream, store: LedgerStore, *, note: str, now: int) -> Mapping[str, int]:
    """Put the present differences on record as known; return them by epoch. Raises ``Transient`` while they move."""
    reading = read(stream, store)
    sums = weigh(reading)
    if sums[-1].difference and not reading.quiet:
        raise Transient("the workers are busy and the difference may still change: try again when they are idle")
    differences = {one.epoch: one.difference for one in sums if one.difference}
    if differences:
        store.acknowledge(differences, note=note, now=now)
    return differences


def _outcomes(reading: Reading) -> dict[str, int]:
    totals = dict.fromkeys(map(str, Outcome), 0)
    for one in reading.ledger:
        for outcome, count in one.outcomes.items():
            totals[outcome] += count
    return totals


def _committed(reading: Reading, stream: LedgerStream) -> list[Held]:
    if not reading.committed:
        return []
    return [one for one in stream.held() if one.entry in reading.committed]


def _sentences(reading: Reading, sums: Sequence[EpochSum], found: Found) -> Iterator[str]:
    present = sums[-1]
    if not reading.quiet:
        yield "the workers are busy; what is between stream and store counts as in the stream"
    if reading.uncounted:
        yield f"{reading.uncounted} waiting entries came by a bare XADD and are counted when they are done"
    if present.difference:
        yield from _about_present(reading, present, found)
    for one in sums:
        if not one.present and not one.difference and not one.acknowledged:
            yield (
                f"the stream of epoch {one.epoch} is gone, and all of its payloads that were noted have their outcome; "
                "whether others had been pushed since is not known"
            )
        if one.difference and not one.present:
            yield (
                f"Redis lost the stream of epoch {one.epoch} with at least {one.difference} payloads that had no "
                "outcome yet: push again what its producers pushed last"
            )
        if one.acknowledged:
            yield f"a difference of {one.acknowledged} in epoch {one.epoch} is acknowledged: {one.note}"


def _noted(reading: Reading) -> int:
    return next((one.accepted_noted for one in reading.ledger if one.epoch == reading.stream.epoch), 0)


def _about_present(reading: Reading, present: EpochSum, found: Found) -> Iterator[str]:
    if present.difference > 0:
        yield (
            f"{present.difference} payloads were accepted in epoch {present.epoch} that are neither in the stream "
            "nor in the store"
        )
    else:
        more = -present.difference
        yield f"the store holds {more} more outcomes of epoch {present.epoch} than payloads were accepted"
    if _noted(reading) > reading.stream.accepted:
        yield (
            f"Redis counts {reading.stream.accepted} accepted payloads where the store noted {_noted(reading)}: "
            "Redis lost its last writes, in a fail-over or a power cut"
        )
    yield from _about_missing(present, found)
    yield from _first(found.forgotten, _about_forgotten)


def _about_missing(present: EpochSum, found: Found) -> Iterator[str]:
    yield from _first(found.holes, _about_hole)
    unnamed = present.difference + max(0, present.acknowledged) - found.missing
    if present.difference > 0 and unnamed > 0:
        yield (
            f"{unnamed} of them cannot be named: they have no serial number, or their neighbours' deliveries were old "
            "and have been deleted"
        )


def _about_hole(hole: Hole) -> str:
    which = f"payload {hole.serial} is" if hole.count == 1 else f"payloads {hole.serial} to {hole.last} are"
    after = f"after entry {hole.after} of {hole.after_at}" if hole.after else "before any that is known"
    before = f"before entry {hole.before} of {hole.before_at}" if hole.before else "as the last"
    return f"{which} missing: pushed {after} and {before}"


def _about_forgotten(one: Forgotten) -> str:
    why = "never gave that number" if one.why == "above" else "gave that number again"
    return f"entry {one.entry} of {one.at} has its outcome, but Redis has forgotten payload {one.serial}: it {why}"


def _about_held(reading: Reading, committed: Sequence[Held], overdue: Sequence[Held]) -> Iterator[str]:
    """Tell what explains the number of pending entries; not what only passes by while workers are busy."""
    done = {one.entry for one in committed}
    if reading.quiet:
        yield from _first(committed, lambda one: f"{_about(one)} has its outcome and is not acknowledged yet")
    late = [one for one in overdue if one.entry not in done]
    yield from _first(late, lambda one: f"{_about(one)} is held for longer than its lease")
    if reading.stream.parked:
        yield f"{reading.stream.parked} entries in the stream are parked: their sources are paused"


def _about(one: Held) -> str:
    at = pushed_at(one.entry)
    return (
        f"entry {one.entry} of {at}, with consumer {one.consumer} for {one.idle_seconds:.0f} s, delivered "
        f"{one.deliveries} times,"
    )


def _first(found: Sequence[One], tell: Callable[[One], str]) -> Iterator[str]:
    yield from (tell(one) for one in found[:TOLD])
    if len(found) > TOLD:
        yield f"… and {len(found) - TOLD} more like the last one; 'penstock audit --json' has them"
