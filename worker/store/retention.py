"""Rows that have become old: deliveries, attempts, and, where somebody wants that, the bytes of payloads.

A delivery is the proof that a stream entry is done. It goes only when its entry cannot come again, and when no open
failure would move its outcome. What was counted stays counted: the sums are rows of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from worker.store.batch import EntryKey
from worker.store.chores import Position
from worker.store.driver import Row, Transaction, statement
from worker.store.failures import OPEN

PORTION: Final = 1000  # rows
EVERY_US: Final = 3_600_000_000
_NOWHERE: Final = (-1, -1)

_END: Final = """SELECT ms, seq FROM delivery WHERE epoch = ? AND (ms, seq) > (?, ?) AND (ms, seq) < (?, ?)
  ORDER BY ms, seq LIMIT 1 OFFSET ?"""
_LAST: Final = """SELECT ms, seq FROM delivery WHERE epoch = ? AND (ms, seq) > (?, ?) AND (ms, seq) < (?, ?)
  ORDER BY ms DESC, seq DESC LIMIT 1"""
_DELIVERIES: Final = f"""DELETE FROM delivery
  WHERE epoch = ? AND (ms, seq) > (?, ?) AND (ms, seq) <= (?, ?) AND handled_at < ?
    AND NOT (outcome = 'failed' AND EXISTS (SELECT 1 FROM failure WHERE failure.id = delivery.failure_id
      AND failure.payload_hash = delivery.payload_hash AND failure.state IN {OPEN}))
  RETURNING ms, seq, serial"""  # noqa: S608 (constant)
_PRUNED: Final = """INSERT INTO ledger_epoch
    (epoch, first_seen, last_seen, accepted, pruned_ms, pruned_seq, pruned_serial)
  VALUES (?, 0, 0, 0, ?, ?, ?) ON CONFLICT (epoch) DO UPDATE SET
    pruned_ms = CASE WHEN (excluded.pruned_ms, excluded.pruned_seq) > (ledger_epoch.pruned_ms, ledger_epoch.pruned_seq)
      THEN excluded.pruned_ms ELSE ledger_epoch.pruned_ms END,
    pruned_seq = CASE WHEN (excluded.pruned_ms, excluded.pruned_seq) > (ledger_epoch.pruned_ms, ledger_epoch.pruned_seq)
      THEN excluded.pruned_seq ELSE ledger_epoch.pruned_seq END,
    pruned_serial = CASE WHEN excluded.pruned_serial > ledger_epoch.pruned_serial
      THEN excluded.pruned_serial ELSE ledger_epoch.pruned_serial END"""

_OLD_ATTEMPTS: Final = f"""SELECT at, id, CASE WHEN kind <> 'fetch' AND EXISTS (
    SELECT 1 FROM failure WHERE failure.id = attempt.failure_id AND failure.state IN {OPEN}) THEN 1 ELSE 0 END
  FROM attempt WHERE (at, id) > (?, ?) AND at < ? ORDER BY at, id LIMIT ?"""  # noqa: S608 (constant)
_ATTEMPTS: Final = statement("DELETE FROM attempt WHERE id IN (SELECT id FROM {rows})", id="int")

_OLD_PAYLOADS: Final = """SELECT first_seen, payload_hash FROM payload
  WHERE (first_seen, payload_hash) > (?, ?) AND first_seen < ?
  ORDER BY first_seen, payload_hash LIMIT ? {lock payload SKIP LOCKED}"""
# The rows are locked by now: a failure that needs one of them is either committed, and found here, or waits for us.
_PAYLOADS: Final = statement(
    """DELETE FROM payload WHERE payload_hash IN (SELECT payload_hash FROM {rows})
    AND NOT EXISTS (SELECT 1 FROM failure WHERE failure.payload_hash = payload.payload_hash
      AND failure.state <> 'resolved')""",
    payload_hash="text",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long rows are kept. ``first_waiting`` is the first id that is in the stream; None when it is empty."""

    deliveries_us: int
    payloads_us: int  # 0: for ever
    first_waiting: str | None


def prune_deliveries(tx: Transaction, position: Position, keep: Retention, *, now: int) -> tuple[int, Position]:
    """Delete old deliveries of one epoch after another; return how many, and where that ended.

    An entry's id tells when it came; one with a lower id than any in the stream is gone from there for good.
    """
    epoch, ms, seq = position or (_epoch_after(tx, ""), *_NOWHERE)
    if epoch is None:
        return 0, None
    old = now - keep.deliveries_us
    below = (old // 1000, 0)
    if keep.first_waiting is not None:
        below = min(below, EntryKey.of(epoch, keep.first_waiting)[1:])
    ends = tx.run(_END, epoch, ms, seq, *below, PORTION - 1)
    last = ends or tx.run(_LAST, epoch, ms, seq, *below)
    gone = tx.run(_DELIVERIES, epoch, ms, seq, *last[0], old) if last else []
    if gone:
        _note_pruned(tx, epoch, gone)
    if ends:
        return len(gone), [epoch, *ends[0]]
    following = _epoch_after(tx, epoch)
    return len(gone), None if following is None else [following, *_NOWHERE]


def _epoch_after(tx: Transaction, epoch: str) -> Any:
    return tx.run("SELECT min(epoch) FROM delivery WHERE epoch > ?", epoch)[0][0]


def _note_pruned(tx: Transaction, epoch: str, gone: list[Row]) -> None:
    """Note up to where an epoch's rows are not complete any more, for the search of gaps."""
    tx.run(_PRUNED, epoch, *max(row[:2] for row in gone), max(row[2] or 0 for row in gone))


def prune_attempts(tx: Transaction, position: Position, keep: Retention, *, now: int) -> tuple[int, Position]:
    """Delete old attempts, but not those to parse an open failure; return how many, and where that ended."""
    rows = tx.run(_OLD_ATTEMPTS, *(position or _NOWHERE), now - keep.deliveries_us, PORTION)
    gone = tx.write(_ATTEMPTS, [(row[1],) for row in rows if not row[2]])
    return gone, list(rows[-1][:2]) if len(rows) == PORTION else None


def prune_payloads(tx: Transaction, position: Position, keep: Retention, *, now: int) -> tuple[int, Position]:
    """Delete the bytes of old payloads, but not those of failures that are not resolved."""
    rows = tx.run(_OLD_PAYLOADS, *(position or (-1, "")), now - keep.payloads_us, PORTION)
    gone = tx.write(_PAYLOADS, [row[1:] for row in rows])
    return gone, list(rows[-1]) if len(rows) == PORTION else None
