"""The store as the fetch task sees it: items as work, and what is known of hosts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from tasks.fetch_ports import Budget, HostDue, HostPause, ItemEnd, Planted, RobotsRow
from tasks.ports import ItemLease
from tasks.steps.page import ItemState
from worker.store import claim, due, settle
from worker.store import hosts as known_hosts
from worker.store import starts as starts_of_sources
from worker.store.budgets import Period
from worker.store.transactions import Transactions


class SqlFrontier(Transactions):
    """A ``tasks.fetch_ports.Frontier``; see there."""

    def hosts_due(
        self, *, after: tuple[str, str] | None, limit: int, run: str, budgets: Mapping[str, Budget], now: int
    ) -> list[HostDue]:
        """See ``Frontier``."""
        period = Period.at(run, now)
        return self._write(lambda tx: due.hosts(tx, after=after, limit=limit, period=period, bounds=budgets, now=now))

    def claim_items(
        self,
        *,
        shares: Mapping[tuple[str, str], int],
        budgets: Mapping[str, Budget],
        run: str,
        lease_us: int,
        now: int,
    ) -> list[ItemLease]:
        """See ``Frontier``."""
        period = Period.at(run, now)
        return self._write(
            lambda tx: claim.claim(tx, shares=shares, bounds=budgets, period=period, lease_us=lease_us, now=now)
        )

    def settle_items(self, ends: Sequence[ItemEnd], *, worker: str, now: int) -> list[ItemState | None]:
        """See ``Frontier``."""
        return self._write(lambda tx: settle.settle(tx, ends, worker=worker, now=now)) if ends else []

    def plant(self, starts: Sequence[Planted], *, now: int) -> int:
        """See ``Frontier``."""
        return self._write(lambda tx: starts_of_sources.plant(tx, starts, now)) if starts else 0

    def robots(self, origins: Collection[str]) -> Mapping[str, RobotsRow]:
        """See ``Frontier``."""
        return self._read(lambda tx: known_hosts.robots(tx, origins))

    def put_robots(self, row: RobotsRow) -> None:
        """See ``Frontier``."""
        self._write(lambda tx: known_hosts.put_robots(tx, row))

    def pause_hosts(self, pauses: Sequence[HostPause], *, now: int) -> None:
        """See ``Frontier``."""
        self._write(lambda tx: known_hosts.pause(tx, pauses, now))

    def host_pauses(self, hosts: Collection[str], *, now: int) -> Mapping[str, HostPause]:
        """See ``Frontier``."""
        return self._read(lambda tx: known_hosts.pauses(tx, hosts, now))
