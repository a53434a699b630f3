"""Rows of ``item`` as work: claimed by lease, fetched, failed, postponed."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Final

from tasks.ports import FetchFailure, ItemLease
from tasks.steps.page import ItemState, Payload, SourceProfile
from worker.store import attempts, clean, failures, sources_state
from worker.store.attempts import Attempt
from worker.store.batch import Broken
from worker.store.driver import Row, Statement, Transaction, statement

_DEFAULTS: Final = SourceProfile(name="")
_CLAIM_LOCK: Final = 0x636C61696D  # "claim"

_NEXT: Final = """(SELECT item.{column} FROM item WHERE item.state = 'due'
    AND (item.source, item.host) > (hosts.source, hosts.host) ORDER BY item.source, item.host LIMIT 1)"""
# One step of the index per host, however many rows each has.
_HOSTS: Final = f"""WITH RECURSIVE hosts(source, host) AS (
  SELECT * FROM (SELECT source, host FROM item WHERE state = 'due' ORDER BY source, host LIMIT 1) AS first_one
  UNION ALL
  SELECT {_NEXT.format(column="source")}, {_NEXT.format(column="host")} FROM hosts WHERE hosts.source IS NOT NULL
) SELECT source, host FROM hosts WHERE source IS NOT NULL"""  # noqa: S608 (constants)
_LEASED: Final = "SELECT source, host, count(*) FROM item WHERE state = 'leased' GROUP BY source, host"
_LEASE: Final = statement(
    """UPDATE item SET state = 'leased', lease_token = r.token, lease_until = r.until FROM {rows}
    WHERE item.source = r.source AND item.item_key = r.item_key""",
    source="text",
    item_key="text",
    token="text",  # noqa: S106 (a type)
    until="int",
)
_COUNT_RUN: Final = statement(
    """INSERT INTO run_fetch (run, source, n) SELECT run, source, n FROM {rows} WHERE true
    ON CONFLICT (run, source) DO UPDATE SET n = run_fetch.n + excluded.n""",
    run="text",
    source="text",
    n="int",
)
_PUSHED: Final = """UPDATE item SET state = 'pushed', pushed_entry = ?, pushed_at = ?, lease_until = NULL,
  lease_token = NULL WHERE source = ? AND item_key = ? AND lease_token = ? AND state = 'leased' RETURNING state"""
_POSTPONED: Final = """UPDATE item SET state = 'due', next_fetch_at = ?, lease_until = NULL, lease_token = NULL
  WHERE source = ? AND item_key = ? AND lease_token = ? AND state = 'leased' RETURNING state"""
_FAILED: Final = """UPDATE item SET state = ?, next_fetch_at = ?, attempts = attempts + ?, last_error = ?,
  last_status = ?, lease_until = NULL, lease_token = NULL
  WHERE source = ? AND item_key = ? AND lease_token = ? AND state = 'leased' RETURNING attempts"""
_REFETCH: Final = """INSERT INTO item (source, item_key, item, url, host, state, depth, discovered_by, discovered_at,
    next_fetch_at, created_at)
  VALUES (?, ?, ?, ?, ?, 'due', ?, ?, ?, ?, ?)
  ON CONFLICT (source, item_key) DO UPDATE SET state = 'due', next_fetch_at = excluded.next_fetch_at,
    url = coalesce(item.url, excluded.url), host = coalesce(nullif(item.host, ''), excluded.host), attempts = 0
  WHERE item.state <> 'leased'"""


@cache
def _candidates(most: int, *, locks_rows: bool) -> Statement:
    """Return the statement that reads up to ``most`` due rows of each host, the most urgent first.

    SQLite knows no LATERAL, but runs a statement row by row, so that LIMIT is for each host as it is.
    """
    columns = "item.source, item.item_key, item.item, item.url, item.host, depth, discovered_by, attempts, priority"
    which = "item.source = r.source AND item.host = r.host AND item.state = 'due' AND item.next_fetch_at <= r.now"
    order = f"ORDER BY item.priority, item.depth, item.next_fetch_at LIMIT {int(most)}"
    if locks_rows:
        inner = f"SELECT * FROM item WHERE {which} {order} {{lock item SKIP LOCKED}}"  # noqa: S608 (constants)
        sql = f"SELECT {columns}, next_fetch_at FROM {{rows}} CROSS JOIN LATERAL ({inner}) AS item"  # noqa: S608 (constants)
    else:
        sql = f"SELECT {columns}, next_fetch_at FROM {{rows}} JOIN item ON {which} {order}"  # noqa: S608 (constants)
    return statement(sql, source="text", host="text", now="int")


def claim(
    tx: Transaction,
    *,
    limit: int,
    per_host: Mapping[str, int],
    budgets: Mapping[str, int],
    run: str,
    lease_us: int,
    now: int,
) -> list[ItemLease]:
    """Lease due items; see ``Store.claim_items``. One claim at a time, or two would exceed a host's share."""
    if tx.locks_rows:
        tx.run("SELECT pg_advisory_xact_lock(?)", _CLAIM_LOCK)
    free_expired(tx, now)
    free = _free_slots(tx, per_host, sources_state.paused(tx).keys())
    rows = _due(tx, {host: slots for host, slots in free.items() if slots > 0}, now)
    chosen = _within_budgets(rows, _left(tx, run, budgets), limit)
    leases = [_lease(row, f"{run}/{secrets.token_hex(8)}", now + lease_us) for row in chosen]
    ordered = sorted(leases, key=lambda one: (one.source, one.item_key))
    tx.write(_LEASE, [(one.source, one.item_key, one.token, one.lease_until) for one in ordered])
    counts = Counter(one.source for one in leases)
    tx.write(_COUNT_RUN, [(clean.text(run), source, counts[source]) for source in sorted(counts)])
    return leases


def _free_slots(tx: Transaction, per_host: Mapping[str, int], paused: Collection[str]) -> dict[tuple[str, str], int]:
    leased = {(row[0], row[1]): row[2] for row in tx.run(_LEASED)}
    hosts = [(str(row[0]), str(row[1])) for row in tx.run(_HOSTS) if row[0] not in paused]
    return {host: per_host.get(host[0], _DEFAULTS.concurrency) - leased.get(host, 0) for host in hosts}


def _due(tx: Transaction, free: Mapping[tuple[str, str], int], now: int) -> list[Row]:
    """Return due rows: first the most urgent of each host, then the second of each, and so on."""
    if not free:
        return []
    found = tx.read(_candidates(max(free.values()), locks_rows=tx.locks_rows), [(*host, now) for host in sorted(free)])
    seen: Counter[tuple[str, str]] = Counter()
    ranked: list[tuple[int, int, int, int, Row]] = []
    for row in sorted(found, key=lambda row: (row[8], row[5], row[9])):
        host = (row[0], row[4])
        seen[host] += 1
        if seen[host] <= free[host]:
            ranked.append((seen[host], row[8], row[5], row[9], row))
    return [row for *_, row in sorted(ranked, key=lambda one: one[:4])]


def _left(tx: Transaction, run: str, budgets: Mapping[str, int]) -> dict[str, int]:
    used = {row[0]: row[1] for row in tx.run("SELECT source, n FROM run_fetch WHERE run = ?", clean.text(run))}
    sources = budgets.keys() | used.keys()
    return {source: budgets.get(source, _DEFAULTS.max_items_per_run) - used.get(source, 0) for source in sources}


def _within_budgets(rows: Sequence[Row], left: dict[str, int], limit: int) -> list[Row]:
    chosen: list[Row] = []
    for row in rows:
        budget = left.get(row[0], _DEFAULTS.max_items_per_run)
        if budget > 0 and len(chosen) < limit:
            left[row[0]] = budget - 1
            chosen.append(row)
    return chosen


def _lease(row: Row, token: str, until: int) -> ItemLease:
    return ItemLease(
        source=row[0],
        item_key=row[1],
        item=row[2],
        url=row[3] or "",
        host=row[4],
        depth=row[5],
        parent=row[6],
        attempts=row[7],
        token=token,
        lease_until=until,
    )


def free_expired(tx: Transaction, now: int) -> int:
    """Make items due again whose lease ran out; return how many."""
    rows = tx.run(
        """UPDATE item SET state = 'due', next_fetch_at = ?, lease_until = NULL, lease_token = NULL
        WHERE state = 'leased' AND lease_until <= ? RETURNING 1""",
        now,
        now,
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


def pushed(tx: Transaction, lease: ItemLease, entry: str, now: int) -> bool:
    """Note that an item's payload is in the stream; see ``Store.item_pushed``."""
    return bool(tx.run(_PUSHED, clean.text(entry), now, lease.source, lease.item_key, lease.token))


def postponed(tx: Transaction, lease: ItemLease, until: int) -> bool:
    """Give an item back, and its part of the run's budget too; see ``Store.item_postponed``."""
    given_back = bool(tx.run(_POSTPONED, until, lease.source, lease.item_key, lease.token))
    if given_back:
        _give_back(tx, lease)
    return given_back


def _give_back(tx: Transaction, lease: ItemLease) -> None:
    """Return the item's part of the run's budget: nothing was fetched."""
    tx.write(_COUNT_RUN, [(clean.text(lease.token.rpartition("/")[0]), lease.source, -1)])


def failed(tx: Transaction, lease: ItemLease, failure: FetchFailure, worker: str, now: int) -> ItemState | None:
    """Note a failed fetch; see ``Store.item_failed``."""
    state = ItemState.DUE
    if failure.retry_at is None:
        state = ItemState.GONE if failure.error_class == "Gone" else ItemState.FAILED
    error_class = clean.text(failure.error_class, 100)
    rows = tx.run(
        _FAILED,
        str(state),
        failure.retry_at,
        int(failure.counts),
        error_class,
        failure.status,
        lease.source,
        lease.item_key,
        lease.token,
    )
    if not rows:
        return None
    if not failure.counts:
        _give_back(tx, lease)
    made = rows[0][0]
    ((failure_id, *_),) = failures.upsert(tx, [_failure_row(lease, failure, made, now)])
    told = Attempt(
        "fetch", lease.source, lease.item_key, failure_id, now, worker, made, str(state), error_class, failure.message
    )
    attempts.note(tx, [told])
    return state


def _failure_row(lease: ItemLease, failure: FetchFailure, made: int, now: int) -> Row:
    envelope = Payload(
        source=lease.source, body=b"", item=lease.item, url=lease.url, status=failure.status, depth=lease.depth,
        parent=lease.parent,
    )  # fmt: skip
    return (
        "fetch",
        lease.source,
        lease.item_key,
        *failures.envelope(envelope),
        None,
        None,
        clean.text(failure.error_class, 100),
        clean.text(failure.message, clean.MESSAGE_CHARS),
        None,
        clean.text(failure.fingerprint, 100),
        failures.NO_PARSER,
        0,
        "dead" if failure.retry_at is None else "waiting",
        failure.retry_at,
        made,
        now,
        now,
        now,
        None,
        None,
    )


def refetch(tx: Transaction, what: Broken, at: int, now: int) -> None:
    """Make the item of a broken payload due, so that the page is fetched once more."""
    payload = what.payload
    url = clean.text(payload.url)
    tx.run(
        _REFETCH,
        *what.identity,
        clean.text(payload.item),
        url,
        clean.host_of(url) or "",
        clean.whole(payload.depth),
        clean.optional_key(payload.parent),
        what.observed_at,
        at,
        now,
    )
