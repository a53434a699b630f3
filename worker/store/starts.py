"""Rows of ``item`` that no page names: the start URLs of sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tasks.fetch_ports import Planted
from tasks.steps.lists import LIST_PRIORITY
from worker.store import clean
from worker.store.driver import Transaction, statement

# A list whose interval is shorter now is not waited for by the old one.
_PLANT: Final = statement(
    """INSERT INTO item (source, item_key, url, host, state, depth, priority, discovered_at, next_fetch_at, created_at,
      recrawl_us)
    SELECT source, item_key, url, host, 'due', 0, priority, now, now, now, every FROM {rows} WHERE true
    ON CONFLICT (source, item_key) DO UPDATE SET state = 'due', url = excluded.url, host = excluded.host,
      priority = excluded.priority, next_fetch_at = excluded.next_fetch_at, recrawl_us = excluded.recrawl_us, depth = 0,
      discovered_by = NULL, attempts = 0, bound = NULL
    WHERE item.state IN ('bounded', 'unroutable')
      OR (item.state IN ('failed', 'gone')
        AND coalesce(item.checked_at, item.created_at) <= excluded.created_at - excluded.recrawl_us)
      OR (item.state IN ('fetched', 'scheduled') AND item.attempts = 0 AND (item.next_fetch_at IS NULL
        OR coalesce(item.recrawl_us, 0) > excluded.recrawl_us))
    RETURNING 1""",
    source="text",
    item_key="text",
    url="text",
    host="text",
    every="int",
    priority="int",
    now="int",
)


def plant(tx: Transaction, starts: Sequence[Planted], now: int) -> int:
    """Make start URLs due; see ``Frontier.plant``."""
    rows = {(clean.key(one.source, clean.SOURCE_BYTES), clean.key(one.item_key)): one for one in starts}
    told = ((key, rows[key]) for key in sorted(rows))
    return len(tx.read(_PLANT, [(*key, one.url, one.host, one.every, LIST_PRIORITY, now) for key, one in told]))
