"""Rows of ``robots`` and ``host_pause``: what is known of the hosts that are asked for pages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from tasks.fetch_ports import HostPause, RobotsRow
from worker.store import clean
from worker.store.driver import Transaction, statement

_ROBOTS: Final = statement(
    """SELECT robots.origin, state, body, status, fetched_at, expires_at
    FROM {rows} JOIN robots ON robots.origin = r.origin""",
    origin="text",
)
_PUT: Final = """INSERT INTO robots (origin, state, body, status, fetched_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)
  ON CONFLICT (origin) DO UPDATE SET state = excluded.state, body = excluded.body, status = excluded.status,
    fetched_at = excluded.fetched_at, expires_at = excluded.expires_at
  WHERE excluded.fetched_at >= robots.fetched_at"""
_PAUSE: Final = statement(
    """INSERT INTO host_pause (host, until, reason, since) SELECT host, until, reason, since FROM {rows} WHERE true
    ON CONFLICT (host) DO UPDATE SET until = excluded.until, reason = excluded.reason,
      since = CASE WHEN host_pause.until > excluded.since THEN host_pause.since ELSE excluded.since END
    WHERE excluded.until > host_pause.until""",
    host="text",
    until="int",
    reason="text",
    since="int",
)
_PAUSES: Final = statement(
    """SELECT host_pause.host, until, reason FROM {rows} JOIN host_pause ON host_pause.host = r.host
    WHERE until > r.now""",
    host="text",
    now="int",
)


def robots(tx: Transaction, origins: Collection[str]) -> dict[str, RobotsRow]:
    """Return what is known of robots.txt at these origins."""
    rows = tx.read(_ROBOTS, [(clean.key(origin),) for origin in sorted(set(origins))])
    return {row[0]: RobotsRow(*row) for row in rows}


def put_robots(tx: Transaction, row: RobotsRow) -> None:
    """Note what is known of an origin's robots.txt, unless something later is."""
    tx.run(_PUT, clean.key(row.origin), row.state, clean.text(row.body), row.status, row.fetched_at, row.expires_at)


def pause(tx: Transaction, pauses: Sequence[HostPause], now: int) -> None:
    """Note hosts that are to be left alone, unless they are for longer."""
    longest: dict[str, HostPause] = {}
    for one in sorted(pauses, key=lambda one: one.until):
        longest[clean.key(one.host)] = one
    tx.write(_PAUSE, [(host, longest[host].until, longest[host].reason, now) for host in sorted(longest)])


def pauses(tx: Transaction, hosts: Collection[str], now: int) -> dict[str, HostPause]:
    """Return those of the hosts that are to be left alone now."""
    rows = tx.read(_PAUSES, [(clean.key(host), now) for host in sorted(set(hosts))])
    return {row[0]: HostPause(*row) for row in rows}
