"""The search for serial numbers that are neither in the stream nor in the store, and for those that were given twice.

What is not in the stream was acknowledged, and so committed, before the stream was read, and the store is read after
it: so this is exact whatever moves meanwhile. All but ``find`` is pure.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from worker.audit.sums import LedgerStore, LedgerStream
from worker.store import Run

MOST = 1000  # holes, and forgotten entries, that are told one by one


@dataclass(frozen=True, slots=True)
class Hole:
    """Payloads that are missing: their serial numbers, and the entries that were pushed just before and after them."""

    epoch: str
    serial: int  # the first
    last: int
    count: int
    after: str | None
    after_at: str | None
    before: str | None
    before_at: str | None


@dataclass(frozen=True, slots=True)
class Forgotten:
    """An entry with an outcome that Redis does not know any more: it lost its last writes."""

    epoch: str
    entry: str
    at: str | None
    serial: int
    why: str  # "above": Redis never gave the number; "twice": it gave the number again


@dataclass(frozen=True, slots=True)
class Found:
    """What the search came to. ``missing`` is the number of all payloads in ``holes``, of which the first are told."""

    missing: int = 0
    holes: Sequence[Hole] = ()
    forgotten: Sequence[Forgotten] = ()


@dataclass(frozen=True, slots=True)
class Gaps:
    """Numbers that no run has, each between the runs around it, and numbers that a later run has again."""

    free: Sequence[tuple[int, int, str | None, str | None]]
    twice: Sequence[tuple[int, int]]


def find(stream: LedgerStream, store: LedgerStore, epoch: str) -> Found:
    """Search the present epoch. Reads the whole stream and all its deliveries."""
    given = stream.snapshot().serial
    waiting = [Run(serial, serial, name, name) for name, of, serial in stream.numbers() if of == epoch and serial]
    delivered = store.serial_runs(epoch)
    pruned = next((one.pruned_serial for one in store.ledger() if one.epoch == epoch), 0)
    gaps = gaps_of([*delivered, *waiting], first=pruned + 1, last=given)
    holes = [_hole(epoch, *gap) for gap in gaps.free]
    above = stream.snapshot().serial + 1
    forgotten = _named(store, epoch, "above", [(above, max((run.last for run in delivered), default=0))])
    twice = [
        *gaps_of(delivered, first=pruned + 1, last=above - 1).twice,
        *_given_again(store, epoch, delivered, waiting),
    ]
    forgotten += _named(store, epoch, "twice", twice)
    return Found(sum(one.count for one in holes), holes[:MOST], forgotten[:MOST])


def _given_again(
    store: LedgerStore, epoch: str, delivered: Sequence[Run], waiting: Sequence[Run]
) -> list[tuple[int, int]]:
    """Return numbers of waiting entries that other entries have, which are done already."""
    ordered = sorted(delivered, key=lambda run: run.first)
    starts, ends = [run.first for run in ordered], list(itertools.accumulate((run.last for run in ordered), max))
    known = [run for run in waiting if (at := bisect.bisect_right(starts, run.first)) and ends[at - 1] >= run.first]
    done = store.delivered_among(epoch, [run.first_entry for run in known]) if known else set()
    return [(run.first, run.last) for run in known if run.first_entry not in done]


def gaps_of(runs: Iterable[Run], *, first: int, last: int) -> Gaps:
    """Return which numbers from ``first`` to ``last`` no run has, and which more than one has."""
    free: list[tuple[int, int, str | None, str | None]] = []
    twice: list[tuple[int, int]] = []
    covered, entry = first - 1, None
    for run in sorted(runs, key=lambda run: (run.first, run.last)):
        if run.first > last:
            if covered < last:
                free.append((covered + 1, last, entry, run.first_entry))
                covered = last
            break
        if run.first > covered + 1:
            free.append((covered + 1, run.first - 1, entry, run.first_entry))
        elif run.first <= covered and run.last >= first:
            twice.append((max(run.first, first), min(run.last, covered)))
        if run.last >= covered:
            covered, entry = run.last, run.last_entry
    if covered < last:
        free.append((covered + 1, last, entry, None))
    return Gaps(free, twice)


def _hole(epoch: str, first: int, last: int, after: str | None, before: str | None) -> Hole:
    return Hole(epoch, first, last, last - first + 1, after, pushed_at(after), before, pushed_at(before))


def _named(store: LedgerStore, epoch: str, why: str, ranges: Sequence[tuple[int, int]]) -> list[Forgotten]:
    """Name the entries with such numbers; of those that were given twice the first, which Redis forgot."""
    ranges = [pair for pair in ranges if pair[0] <= pair[1]]
    if not ranges:
        return []
    within = min(first for first, _ in ranges), max(last for _, last in ranges)
    entries = [
        (entry, serial)
        for entry, serial in store.serial_entries(epoch, *within, limit=10 * MOST)
        if any(first <= serial <= last for first, last in ranges)
    ]
    last_of = {serial: entry for entry, serial in entries}
    several = Counter(serial for _, serial in entries)
    return [
        Forgotten(epoch, entry, pushed_at(entry), serial, why)
        for entry, serial in entries
        if several[serial] == 1 or last_of[serial] != entry
    ]


def pushed_at(entry: str | None) -> str | None:
    """Return when an entry was pushed, which its id tells, as RFC 3339 in UTC; None for an id that is no time."""
    if entry is None:
        return None
    try:
        return datetime.fromtimestamp(int(entry.partition("-")[0]) / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return None
