"""Rows of ``outcome_count`` put together, so that sums over months stay quick: shards of an hour, hours of a day.

The sums stay exact whatever is committed meanwhile: rows are locked, taken out and added to another in one transaction.
A retry subtracts from the hour and shard that its delivery was counted in, which may be folded away by then; that makes
a row with a number below nothing, and the next pass takes it along.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from worker.store import deliveries
from worker.store.chores import Position
from worker.store.deliveries import HOUR_US
from worker.store.driver import Transaction, statement

PORTION: Final = 1000  # rows
HOURS_KEPT: Final = 7 * 24  # older ones become days
OPEN_HOURS: Final = 2  # the present hour and the one before it: their workers still add to them
EVERY_US: Final = 600_000_000

_KEY: Final = "epoch, source, hour, outcome, shard"
_FOUND: Final = f"""SELECT {_KEY}, n FROM outcome_count
  WHERE ({_KEY}) > (?, ?, ?, ?, ?) AND hour < ? AND (shard <> 0 OR hour < ? AND hour % 24 <> 0)
  ORDER BY {_KEY} LIMIT ? {{lock outcome_count}}"""  # noqa: S608 (constants)
_DELETE: Final = statement(
    f"DELETE FROM outcome_count WHERE ({_KEY}) IN (SELECT {_KEY} FROM {{rows}})",  # noqa: S608 (constants)
    epoch="text",
    source="text",
    hour="int",
    outcome="text",
    shard="int",
)


def fold(tx: Transaction, position: Position, *, now: int) -> tuple[int, Position]:
    """Fold the next rows; return how many, and where that ended."""
    hour = now // HOUR_US
    rows = tx.run(_FOUND, *(position or ("", "", 0, "", -1)), hour - OPEN_HOURS + 1, hour - HOURS_KEPT, PORTION)
    tx.write(_DELETE, [row[:5] for row in rows])
    sums: Counter[tuple[str, str, int, str, int]] = Counter()
    for epoch, source, of, outcome, _, n in rows:
        sums[epoch, source, of - of % 24 if of < hour - HOURS_KEPT else of, outcome, 0] += n
    deliveries.add(tx, sums)
    return len(rows), list(rows[-1][:5]) if len(rows) == PORTION else None
