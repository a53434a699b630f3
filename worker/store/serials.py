"""The serial numbers of an epoch's deliveries: which are there, and so which are not.

A stream entry's number and its id grow together, so the deliveries in the order of their ids are a few long runs of
numbers without a gap. Reads all rows of the epoch: only to explain a difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from worker.store import clean
from worker.store.batch import EntryKey
from worker.store.driver import Row, Transaction

PORTION: Final = 200_000  # rows of one statement

_STEPS: Final = """SELECT ms, seq, serial, before_ms, before_seq, before_serial, after_serial FROM (
    SELECT ms, seq, serial, lag(ms) OVER w AS before_ms, lag(seq) OVER w AS before_seq,
      lag(serial) OVER w AS before_serial, lead(serial) OVER w AS after_serial
    FROM (SELECT ms, seq, serial FROM delivery WHERE epoch = ? AND (ms, seq) > (?, ?) AND serial IS NOT NULL
      ORDER BY ms, seq LIMIT ?) AS part
    WINDOW w AS (ORDER BY ms, seq)) AS step
  WHERE before_serial IS NULL OR after_serial IS NULL OR serial <> before_serial + 1 ORDER BY ms, seq"""
_ENTRIES: Final = """SELECT ms, seq, serial FROM (
    SELECT ms, seq, serial, lead(ms) OVER (ORDER BY ms, seq) AS after_ms
    FROM (SELECT ms, seq, serial FROM delivery WHERE epoch = ? AND (ms, seq) > (?, ?) AND serial IS NOT NULL
      ORDER BY ms, seq LIMIT ?) AS part) AS step
  WHERE after_ms IS NULL OR serial BETWEEN ? AND ? ORDER BY ms, seq"""


@dataclass(frozen=True, slots=True)
class Run:
    """Numbers without a gap, and the entries that have the first and the last of them."""

    first: int
    last: int
    first_entry: str
    last_entry: str


def runs(tx: Transaction, epoch: str) -> list[Run]:
    """Return the numbers of the epoch's deliveries, in the order of their entries, above what was pruned."""
    epoch = clean.text(epoch)
    found = tx.run("SELECT pruned_ms, pruned_seq FROM ledger_epoch WHERE epoch = ?", epoch)
    position = found[0] if found and found[0] != (0, 0) else (-1, -1)
    joined: list[Run] = []
    while rows := tx.run(_STEPS, epoch, *position, PORTION):
        for run in _runs_of(rows):
            if joined and run.first == joined[-1].last + 1:
                run = Run(joined[-1].first, run.last, joined.pop().first_entry, run.last_entry)  # noqa: PLW2901 (the same run, longer)
            joined.append(run)
        position = rows[-1][:2]
    return joined


def entries(tx: Transaction, epoch: str, first: int, last: int, limit: int) -> list[tuple[str, int]]:
    """Return entries with their numbers, of those from ``first`` to ``last``."""
    found: list[Row] = []
    position = (-1, -1)
    while len(found) < limit and (rows := tx.run(_ENTRIES, clean.text(epoch), *position, PORTION, first, last)):
        found += [row for row in rows if first <= row[2] <= last]  # the last of a portion is always among them
        position = rows[-1][:2]
    return [(_name(row), row[2]) for row in found[:limit]]


def _runs_of(rows: list[Row]) -> Iterator[Run]:
    """Yield the runs of one portion; its rows are those that begin a run, and its last one."""
    starts = [row for row in rows if row[5] is None or row[2] != row[5] + 1]
    for start, after in zip(starts, [*starts[1:], None], strict=True):
        end = rows[-1][:3] if after is None else after[3:6]
        yield Run(start[2], end[2], _name(start), _name(end))


def _name(row: Row) -> str:
    return EntryKey("", row[0], row[1]).entry_id
