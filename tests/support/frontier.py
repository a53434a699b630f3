"""Items claimed and settled as the fetch task does it, in as few words as a test needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.fetch_ports import Budget, ItemFailed, ItemPostponed, ItemPushed, ItemUnchanged
from tasks.ports import FetchFailure, ItemLease
from tasks.steps.page import DiscoveredItem, ItemState, Recrawl
from tests.support.arrivals import NOW, SECOND, commit, page
from worker.store import SqlStore

RUN = "r1"


def claim(
    store: SqlStore,
    share: int = 100,
    *,
    now: int = NOW,
    run: str = RUN,
    budget: Budget | None = None,
    lease_us: int = 10 * SECOND,
) -> list[ItemLease]:
    """Lease up to ``share`` items of each host that has due ones; the budget is that of the source ``s``."""
    common: dict[str, Any] = {"run": run, "budgets": {"s": budget} if budget else {}, "now": now}
    hosts = store.hosts_due(after=None, limit=1000, **common)
    shares = {(one.source, one.host): share for one in hosts}
    return store.claim_items(shares=shares, lease_us=lease_us, **common)


def only(store: SqlStore, **how: Any) -> ItemLease:
    """Lease the one item that is due."""
    (lease,) = claim(store, **how)
    return lease


def pushed(store: SqlStore, lease: ItemLease, entry: str = "1-1", *, now: int = NOW) -> ItemState | None:
    return store.settle_items([ItemPushed(lease, entry)], worker="w", now=now)[0]


def failed(
    store: SqlStore,
    lease: ItemLease,
    failure: FetchFailure,
    *,
    worker: str = "w",
    now: int = NOW,
    recrawls: bool = True,
) -> ItemState | None:
    return store.settle_items([ItemFailed(lease, failure, recrawls)], worker=worker, now=now)[0]


def postponed(store: SqlStore, lease: ItemLease, until: int, *, now: int = NOW) -> ItemState | None:
    return store.settle_items([ItemPostponed(lease, until)], worker="w", now=now)[0]


def unchanged(
    store: SqlStore, lease: ItemLease, recrawl: Recrawl | None = None, *, now: int = NOW, etag: str | None = None
) -> ItemState | None:
    return store.settle_items([ItemUnchanged(lease, etag, None, recrawl)], worker="w", now=now)[0]


def fetch_failure(
    error_class: str = "HttpError", *, retry_at: int | None = None, counts: bool = True, status: int | None = 503
) -> FetchFailure:
    return FetchFailure(
        error_class=error_class, message="no", fingerprint="ff", status=status, retry_at=retry_at, counts=counts
    )


def names(store: SqlStore, *items: DiscoveredItem, by: str = "p", at: int = 0) -> None:
    """Commit a page that names these items."""
    commit(store, page(by, f"text of {by} at {at}", at=at, discovered=items))


def keys(leases: Sequence[ItemLease]) -> list[str]:
    return [lease.item_key for lease in leases]


def row_of(store: SqlStore, key: str) -> dict[str, Any]:
    """Return the row of an item."""
    columns = (
        "state, depth, discovered_by, url, host, attempts, next_fetch_at, lease_token, bound, etag, last_modified, "
        "recrawl_us, gone_at, last_status, last_error, checked_at"
    )
    with store._driver.transaction(write=False) as tx:
        (row,) = tx.run(f"SELECT {columns} FROM item WHERE item_key = ?", key)  # noqa: S608 (constants)
    return dict(zip(columns.split(", "), row, strict=True))
