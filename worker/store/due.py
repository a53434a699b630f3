"""Rows of ``item`` that may be fetched now, and the hosts that have any.

Whatever is to be fetched is ``due`` from the time on at which it may be: until then it is ``scheduled``, or, when its
page is in the store, ``fetched``. So those that are due are found by host, and those that wait by time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from tasks.fetch_ports import Budget, HostDue
from tasks.steps.page import ItemState
from worker.store import budgets, clean, sources_state
from worker.store.batch import Broken
from worker.store.driver import Row, Transaction

PORTION: Final = 1000  # rows that are woken in one transaction

Place = tuple[str, str]  # source and host
_FIRST: Final[Place] = ("", "")
_LAST: Final = "\U0010ffff"  # no name comes after it

_WHOSE_TIME_HAS_COME: Final = """FROM item WHERE state IN ('scheduled', 'fetched') AND next_fetch_at <= ?
  ORDER BY next_fetch_at LIMIT ? {lock item SKIP LOCKED}"""
_EXPIRED: Final = """FROM item WHERE state = 'leased' AND lease_until <= ? ORDER BY lease_until LIMIT ?
  {lock item SKIP LOCKED}"""
_NEXT: Final = """SELECT source, host, url FROM item
  WHERE state = 'due' AND (source, host) > ({after}) AND (source, host) <= (?, ?)
  ORDER BY source, host, priority, depth, next_fetch_at LIMIT 1"""
_AFTER: Final = _NEXT.format(after="?, ?")
# One step of the index per host, however many rows each has. SQLite, which has no LATERAL, makes the steps one by one.
_STEPS: Final = f"""WITH RECURSIVE hosts AS (
  ({_AFTER})
  UNION ALL
  SELECT following.* FROM hosts CROSS JOIN LATERAL ({_NEXT.format(after="hosts.source, hosts.host")}) AS following
) SELECT source, host, url FROM hosts LIMIT ?"""  # noqa: S608 (constants)
_REFETCH: Final = """INSERT INTO item (source, item_key, item, url, host, state, depth, discovered_by, discovered_at,
    next_fetch_at, created_at)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (source, item_key) DO UPDATE SET state = excluded.state, next_fetch_at = excluded.next_fetch_at,
    url = coalesce(item.url, excluded.url), host = coalesce(nullif(item.host, ''), excluded.host), attempts = 0
  WHERE item.state <> 'leased'"""


def state_at(at: int, now: int) -> ItemState:
    """Return the state of an item that may be fetched from a time on."""
    return ItemState.DUE if at <= now else ItemState.SCHEDULED


def these(tx: Transaction, which: str) -> str:
    """Return the condition that rows are among those that ``which`` selects and locks.

    They are found by their place in the table, where they stay while they are locked: to look them up by their keys
    takes as long again.
    """
    if tx.locks_rows:
        return f"ctid = ANY(ARRAY(SELECT item.ctid {which}))"
    return f"rowid IN (SELECT item.rowid {which})"


def wake(tx: Transaction, now: int) -> int:
    """Make a portion of the items due whose time has come; return how many."""
    which = these(tx, _WHOSE_TIME_HAS_COME)
    return len(tx.run(f"UPDATE item SET state = 'due' WHERE {which} RETURNING 1", now, PORTION))  # noqa: S608 (constant)


def free_expired(tx: Transaction, now: int) -> int:
    """Make a portion of the items due whose lease ran out; return how many."""
    rows = tx.run(
        f"""UPDATE item SET state = 'due', next_fetch_at = ?, lease_until = NULL, lease_token = NULL
        WHERE {these(tx, _EXPIRED)} RETURNING 1""",  # noqa: S608 (constant)
        now,
        now,
        PORTION,
    )
    return len(rows)


def push_again(tx: Transaction, before: int, now: int) -> int:
    """Make items due again that were pushed until then and whose payloads Redis has lost; return how many."""
    rows = tx.run(
        "UPDATE item SET state = 'due', next_fetch_at = ? WHERE state = 'pushed' AND pushed_at <= ? RETURNING 1",
        now,
        before,
    )
    return len(rows)


def refetch(tx: Transaction, what: Broken, at: int, now: int) -> None:
    """Have the page of a broken payload fetched once more."""
    payload = what.payload
    url = clean.text(payload.url)
    tx.run(
        _REFETCH,
        *what.identity,
        clean.text(payload.item),
        url,
        clean.host_of(url) or "",
        str(state_at(at, now)),
        clean.whole(payload.depth),
        clean.optional_key(payload.parent),
        what.observed_at,
        at,
        now,
    )


def hosts(
    tx: Transaction, *, after: Place | None, limit: int, period: budgets.Period, bounds: Mapping[str, Budget], now: int
) -> list[HostDue]:
    """Return hosts with due items, and wake a portion of those whose time has come; see ``Frontier.hosts_due``."""
    free_expired(tx, now)
    wake(tx, now)
    spent = budgets.used(tx, period)
    closed = {source for source in spent if not budgets.left(source, spent, bounds)}
    closed |= {source for source, budget in bounds.items() if 0 in {budget.run, budget.day}}
    closed |= sources_state.paused(tx).keys()
    found: list[HostDue] = []
    for low, high in _spans(after, closed):
        found += [HostDue(*row) for row in _between(tx, low, high, limit - len(found)) if row[0] not in closed]
        if len(found) >= limit:
            break
    return found


def places(tx: Transaction, *, source: str | None, limit: int) -> list[Place]:
    """Return where something is due, of a source or of all."""
    low, high = (_FIRST, (_LAST, _LAST)) if source is None else ((source, ""), (source, _LAST))
    return [(row[0], row[1]) for row in _between(tx, low, high, limit)]


def _spans(after: Place | None, closed: Collection[str]) -> Iterator[tuple[Place, Place]]:
    """Yield what to go through, as (after, up to and with): on from a place and round to it, but for closed sources."""
    place = after or _FIRST
    for low, high in ((place, (_LAST, _LAST)), (_FIRST, place)):
        inside = [source for source in sorted(closed) if low < (source, _LAST) and (source, "") < high]
        starts = [low, *((source, _LAST) for source in inside)]
        ends = [*((source, "") for source in inside), high]
        yield from (span for span in zip(starts, ends, strict=True) if span[0] < span[1])


def _between(tx: Transaction, low: Place, high: Place, limit: int) -> list[Row]:
    if tx.locks_rows:
        return tx.run(_STEPS, *low, *high, *high, limit)
    found: list[Row] = []
    while len(found) < limit and (rows := tx.run(_AFTER, *low, *high)):
        found += rows
        low = rows[0][:2]
    return found
