"""Rows of ``delivery`` and ``outcome_count``: the ledger, one row per stream entry, and its sums."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from tasks.steps.page import Outcome
from worker.store import clean
from worker.store.batch import Delivered, Effect, EntryKey, Sighting
from worker.store.driver import Row, Transaction, insertion, statement

HOUR_US: Final = 3_600_000_000
SHARDS: Final = 16  # rows of one sum, so that workers seldom wait for each other's
WORKER_CHARS: Final = 200

_EARLIER: Final = statement(
    """SELECT delivery.epoch, delivery.ms, delivery.seq, outcome FROM {rows} JOIN delivery
    ON delivery.epoch = r.epoch AND delivery.ms = r.ms AND delivery.seq = r.seq""",
    epoch="text",
    ms="int",
    seq="int",
)
_INSERT: Final = insertion(
    "delivery",
    epoch="text",
    ms="int",
    seq="int",
    serial="int",
    source="text",
    item_key="text",
    outcome="text",
    payload_hash="text",
    page_id="int",
    sighting="int",
    failure_id="int",
    error_class="text",
    worker="text",
    attempt="int",
    observed_at="int",
    handled_at="int",
)
_ADD: Final = statement(
    """INSERT INTO outcome_count (epoch, source, hour, outcome, shard, n)
    SELECT epoch, source, hour, outcome, shard, n FROM {rows} WHERE true
    ON CONFLICT (epoch, source, hour, outcome, shard) DO UPDATE SET n = outcome_count.n + excluded.n""",
    epoch="text",
    source="text",
    hour="int",
    outcome="text",
    shard="int",
    n="int",
)


def earlier(tx: Transaction, keys: Iterable[EntryKey]) -> dict[EntryKey, Outcome]:
    """Return the outcomes of those entries that were committed before."""
    return {EntryKey(*row[:3]): Outcome(row[3]) for row in tx.read(_EARLIER, sorted(keys))}


def write(tx: Transaction, effects: Mapping[EntryKey, tuple[Delivered, Effect]], *, worker: str, now: int) -> None:
    """Store what became of entries, and count it. Raises ``StoreConflict`` if another worker stored one of them."""
    worker = clean.text(worker, WORKER_CHARS)
    rows = [_row(one, effect, worker, now) for _, (one, effect) in sorted(effects.items(), key=lambda pair: pair[0])]
    if rows:
        tx.insert(_INSERT, rows)
    hour, shard = now // HOUR_US, shard_of(worker)
    counted = ((key, one.what.identity.source, effect) for key, (one, effect) in effects.items())
    add(tx, Counter((key.epoch, source, hour, str(effect.outcome), shard) for key, source, effect in counted))


def add(tx: Transaction, counts: Mapping[tuple[str, str, int, str, int], int]) -> None:
    """Add to the sums by (epoch, source, hour, outcome, shard); a number may be negative."""
    tx.send(_ADD, [(*key, n) for key, n in sorted(counts.items()) if n])


def shard_of(worker: str) -> int:
    """Return which of a sum's rows a worker adds to."""
    return zlib.crc32(worker.encode()) % SHARDS


def sighting_of(content_hash: str) -> int:
    """Return what a delivery is marked with, to find when a page was seen with this content."""
    return clean.number_of(content_hash)


def _row(one: Delivered, effect: Effect, worker: str, now: int) -> Row:
    what = one.what
    page, failure = (what, None) if isinstance(what, Sighting) else (None, what)
    return (
        *one.key,
        one.serial,
        *what.identity,
        str(effect.outcome),
        what.payload_hash,
        effect.page_id,
        page and sighting_of(page.content_hash),
        effect.failure_id,
        failure and clean.text(failure.result.error_class, 100),
        worker,
        clean.whole(one.attempt),
        what.observed_at,
        now,
    )
