"""Due rows of ``item`` leased, as many of each host as it may be asked for."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping
from typing import Final

from tasks.fetch_ports import Budget
from tasks.ports import ItemLease
from worker.store import budgets, sources_state
from worker.store.driver import Row, Transaction
from worker.store.due import Place, these

_COLUMNS: Final = (
    "source, item_key, item, url, host, depth, discovered_by, attempts, priority, etag, last_modified, lease_token, "
    "next_fetch_at"
)
# A penstock of before leaves rows due whose time has not come.
_URGENT: Final = "state = 'due' AND next_fetch_at <= {now} ORDER BY priority, depth, next_fetch_at LIMIT {n}"
_OF_HOST: Final = f"FROM item WHERE source = ? AND host = ? AND {_URGENT.format(now='?', n='?')}"
_OF_HOSTS: Final = f"""FROM unnest(?::text[], ?::text[], ?::bigint[]) AS r(source, host, n) CROSS JOIN LATERAL (
    SELECT ctid FROM item WHERE item.source = r.source AND item.host = r.host AND {_URGENT.format(now="?", n="r.n")}
    {{lock item SKIP LOCKED}}) AS item"""  # noqa: S608 (constants)


def claim(
    tx: Transaction,
    *,
    shares: Mapping[Place, int],
    bounds: Mapping[str, Budget],
    period: budgets.Period,
    lease_us: int,
    now: int,
) -> list[ItemLease]:
    """Lease due items; see ``Frontier.claim_items``."""
    paused = sources_state.paused(tx)
    open_shares = {place: n for place, n in shares.items() if n > 0 and place[0] not in paused}
    wanted: Counter[str] = Counter()
    for (source, _), n in open_shares.items():
        wanted[source] += n
    allowed = budgets.take(tx, period, wanted, bounds)
    rows = _lease(tx, _within(open_shares, wanted, allowed), period.token(secrets.token_hex(8)), now + lease_us, now)
    taken = Counter(row[0] for row in rows)
    budgets.give_back(tx, {(period, source): n - taken[source] for source, n in wanted.items()})
    return [_lease_of(row, now + lease_us) for row in sorted(rows, key=_urgency)]


def _within(shares: Mapping[Place, int], wanted: Mapping[str, int], allowed: Mapping[str, int]) -> dict[Place, int]:
    """Return what of the shares is allowed: where it is not all, the first of each host, then the second, and so on."""
    chosen = {place: n for place, n in shares.items() if allowed[place[0]] == wanted[place[0]]}
    cut = ((rank, place) for place, n in shares.items() if place not in chosen for rank in range(n))
    left = dict(allowed)
    for _, place in sorted(cut):
        if left[place[0]] > 0:
            left[place[0]] -= 1
            chosen[place] = chosen.get(place, 0) + 1
    return chosen


def _lease(tx: Transaction, shares: Mapping[Place, int], token: str, until: int, now: int) -> list[Row]:
    """Lease rows; a lease's token ends in the row's place, which makes it unique."""
    if not shares:
        return []
    if tx.locks_rows:
        sources, hosts = map(list, zip(*shares, strict=True))
        return tx.run(_leasing(tx, _OF_HOSTS), token, until, sources, hosts, list(shares.values()), now)
    leasing = _leasing(tx, _OF_HOST)
    return [row for place, n in shares.items() for row in tx.run(leasing, token, until, *place, now, n)]


def _leasing(tx: Transaction, which: str) -> str:
    place = "ctid::text" if tx.locks_rows else "rowid"
    return f"""UPDATE item SET state = 'leased', lease_token = ? || {place}, lease_until = ?
      WHERE {these(tx, which)} RETURNING {_COLUMNS}"""  # noqa: S608 (constants)


def _urgency(row: Row) -> tuple[int, int, int, str]:
    return row[8], row[5], row[12], row[1]


def _lease_of(row: Row, until: int) -> ItemLease:
    return ItemLease(
        source=row[0],
        item_key=row[1],
        item=row[2],
        url=row[3] or "",
        host=row[4],
        depth=row[5],
        parent=row[6],
        attempts=row[7],
        priority=row[8],
        etag=row[9],
        last_modified=row[10],
        token=row[11],
        lease_until=until,
    )
