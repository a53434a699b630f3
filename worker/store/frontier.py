"""Claims of the fetch task as it was: at most so many items of a host at a time, counted by their leases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from tasks.fetch_ports import Budget
from tasks.ports import ItemLease
from tasks.steps.page import SourceProfile
from worker.store import claim as claims
from worker.store import due
from worker.store.budgets import Period
from worker.store.driver import Transaction

_DEFAULTS: Final = SourceProfile(name="")
_CLAIM_LOCK: Final = 0x636C61696D  # "claim"
_ALL: Final = 1_000_000
_LEASED: Final = "SELECT source, host, count(*) FROM item WHERE state = 'leased' GROUP BY source, host"


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
    bounds = {source: Budget(n) for source, n in budgets.items()}
    period = Period.at(run, now)
    hosts = due.hosts(tx, after=None, limit=_ALL, period=period, bounds=bounds, now=now)
    leased = {(row[0], row[1]): row[2] for row in tx.run(_LEASED)}
    free = {
        (one.source, one.host): per_host.get(one.source, _DEFAULTS.concurrency) - leased.get((one.source, one.host), 0)
        for one in hosts
    }
    ranked = sorted((rank, host) for host, slots in free.items() for rank in range(slots))
    shares = Counter(host for _, host in ranked[:limit])
    return claims.claim(tx, shares=shares, bounds=bounds, period=period, lease_us=lease_us, now=now)
