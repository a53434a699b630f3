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
from worker.store.driver import Transaction

PORTION: Final = 1000  # rows
HOURS_KEPT: Final = 7 * 24  # older ones become days
OPEN_HOURS: Final = 2  # the present hour and the one before it: their workers still add to them
EVERY_US: Final = 600_000_000

_KEY: Final = "epoch, source, hour, outcome, shard"
_FOLDABLE: Final = "hour < ? AND (shard <> 0 OR hour < ? AND hour / 24 * 24 <> hour)"
# Locks in the order of the keys, as commits do.
_END: Final = f"""SELECT {_KEY} FROM outcome_count WHERE ({_KEY}) > (?, ?, ?, ?, ?) AND {_FOLDABLE}
  ORDER BY {_KEY} LIMIT ? {{lock outcome_count}}"""  # noqa: S608 (constants)
# What it returns is what was deleted: a row that a retry added since then is counted too.
_DELETE: Final = f"""DELETE FROM outcome_count
  WHERE ({_KEY}) > (?, ?, ?, ?, ?) AND ({_KEY}) <= (?, ?, ?, ?, ?) AND {_FOLDABLE} RETURNING {_KEY}, n"""  # noqa: S608 (constants)


def fold(tx: Transaction, position: Position, *, now: int) -> tuple[int, Position]:
    """Fold the next rows; return how many, and where that ended."""
    hour, start = now // HOUR_US, position or ("", "", 0, "", -1)
    bounds = hour - OPEN_HOURS + 1, hour - HOURS_KEPT
    found = tx.run(_END, *start, *bounds, PORTION)
    if not found:
        return 0, None
    rows = tx.run(_DELETE, *start, *found[-1], *bounds)
    sums: Counter[tuple[str, str, int, str, int]] = Counter()
    for epoch, source, of, outcome, _, n in rows:
        sums[epoch, source, of - of % 24 if of < hour - HOURS_KEPT else of, outcome, 0] += n
    deliveries.add(tx, sums)
    return len(rows), list(found[-1]) if len(found) == PORTION else None
