"""How the hosts of the frontier stand, for the operator: what is due at them, and which are left alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tasks.fetch_ports import HostPause, RobotsRow
from tasks.steps.canonical import origin_of
from worker.store import clean, due, hosts
from worker.store.driver import Transaction

MOST_COUNTED: Final = 1000  # items of a host; to count millions would take seconds

_DUE: Final = """SELECT count(*) FROM (
  SELECT 1 FROM item WHERE state = 'due' AND source = ? AND host = ? LIMIT ?) AS counted"""
_PAUSED: Final = "SELECT host, until, reason FROM host_pause WHERE until > ? ORDER BY until DESC, host LIMIT ?"
_ORIGIN: Final = "SELECT origin, state, body, status, fetched_at, expires_at FROM robots WHERE origin IN (?, ?)"


@dataclass(frozen=True, slots=True)
class HostStanding:
    """A host at which something is due, or which is left alone."""

    host: str
    source: str | None  # whose items are due at it
    due: int  # items; ``MOST_COUNTED`` may be more
    pause: HostPause | None
    robots: RobotsRow | None


def standing(tx: Transaction, *, source: str | None, limit: int, now: int) -> list[HostStanding]:
    """Return hosts that are left alone, for the longest time first, and then those where something is due."""
    places = due.places(tx, source=source, limit=limit)
    paused = {row[0]: HostPause(*row) for row in tx.run(_PAUSED, now, limit)}
    paused |= hosts.pauses(tx, {host for _, host, _ in places}, now)
    known = hosts.robots(tx, {origin_of(url) for *_, url in places})
    found = [
        HostStanding(host, of, _count(tx, of, host), paused.get(host), known.get(clean.key(origin_of(url))))
        for of, host, url in places
    ]
    if source is None:
        idle = paused.keys() - {host for _, host, _ in places}
        found += [HostStanding(host, None, 0, paused[host], _robots(tx, host)) for host in idle]
    return sorted(found, key=_urgency)[:limit]


def _count(tx: Transaction, source: str, host: str) -> int:
    return int(tx.run(_DUE, source, host, MOST_COUNTED)[0][0])


def _robots(tx: Transaction, host: str) -> RobotsRow | None:
    rows = tx.run(_ORIGIN, f"https://{host}", f"http://{host}")
    return RobotsRow(*rows[0]) if rows else None


def _urgency(one: HostStanding) -> tuple[int, int, str, str]:
    return -(one.pause.until if one.pause else 0), -one.due, one.host, one.source or ""
