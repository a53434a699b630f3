"""How the hosts of the frontier stand, for the operator: what there is of each, which are left alone, what is cut.

No index finds items by host but those that are due: whoever claims and settles them would pay for it with each row. So
items are looked at one by one, and only so many of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from tasks.fetch_ports import HostPause, RobotsRow
from tasks.steps.page import ItemState
from worker.store import clean, due, hosts
from worker.store.driver import Transaction

MOST_LOOKED_AT: Final = 1_000_000  # items; so many take one or two seconds
MOST_COUNTED: Final = 1000  # due items of a host, where not all items are looked at

_STATES: Final = ", ".join(f"count(*) FILTER (WHERE state = '{state}')" for state in ItemState)
# Limited within, as SQLite would else group along the primary key, and look up each row by it.
_LOOK: Final = """SELECT source, host, min(next_fetch_at) FILTER (WHERE state IN ('scheduled', 'fetched')), {states}
  FROM (SELECT source, host, state, next_fetch_at FROM item {of_source} LIMIT ?) AS looked_at GROUP BY source, host"""
_CUT: Final = """SELECT source, bound, count(*), min(sample) FROM (
    SELECT source, coalesce(url, item, item_key) AS sample,
      CASE state WHEN 'bounded' THEN coalesce(bound, 'unknown') WHEN 'unroutable' THEN 'unroutable' ELSE 'robots' END
        AS bound
    FROM item WHERE (state IN ('bounded', 'unroutable')
      OR (state IN ('failed', 'scheduled') AND last_error = 'Disallowed')) {of_source}
    LIMIT ?) AS cut
  GROUP BY source, bound ORDER BY count(*) DESC, source, bound"""
_DUE: Final = """SELECT count(*) FROM (
  SELECT 1 FROM item WHERE state = 'due' AND source = ? AND host = ? LIMIT ?) AS counted"""
_PAUSED: Final = "SELECT host, until, reason FROM host_pause WHERE until > ?"
_ALONE: Final = "SELECT reason, count(*) FROM host_pause WHERE until > ? GROUP BY reason ORDER BY reason"


@dataclass(frozen=True, slots=True)
class HostStanding:
    """A host that items of a source are at, or which is left alone."""

    host: str
    source: str | None  # None where there are no items
    items: Mapping[str, int]  # by state, without those of which there are none
    next_at: int | None = None  # when the first of those that wait may be fetched; with ``is_least`` it may be sooner
    pause: HostPause | None = None
    robots: RobotsRow | None = None
    is_least: bool = False  # there may be more of each, as not all items were looked at

    @property
    def due(self) -> int:
        """Items that may be fetched now."""
        return self.items.get("due", 0)


@dataclass(frozen=True, slots=True)
class CutItems:
    """Items of a source that are not followed, for one reason."""

    source: str
    bound: str  # as of ``Bound``; "robots": disallowed, "unroutable": out of the hosts, "unknown": noted before bounds
    count: int
    is_least: bool
    sample: str  # the URL of one, where it has any


def standing(tx: Transaction, *, source: str | None, limit: int, now: int) -> list[HostStanding]:
    """Return hosts that are left alone, for the longest time first, then those with most due, in hand and waiting."""
    paused = {row[0]: HostPause(*row) for row in tx.run(_PAUSED, now)}
    found = _known(tx, source, limit, paused)
    if source is None:
        idle = paused.keys() - {one.host for one in found}
        found += [HostStanding(host, None, {}, pause=paused[host]) for host in idle]
    shown = sorted(found, key=_urgency)[:limit]
    robots = _robots(tx, {one.host for one in shown})
    return [replace(one, robots=robots.get(one.host)) for one in shown]


def cut(tx: Transaction, *, source: str | None, limit: int) -> list[CutItems]:
    """Return what is not followed, by source and bound, the most first."""
    sql = _CUT.format(of_source="" if source is None else "AND source = ?")
    rows = tx.run(sql, *_given(source), MOST_LOOKED_AT)
    is_least = sum(row[2] for row in rows) >= MOST_LOOKED_AT
    return [CutItems(of, bound, n, is_least, sample) for of, bound, n, sample in rows[:limit]]


def alone(tx: Transaction, now: int) -> dict[str, int]:
    """Return how many hosts are left alone, by reason."""
    return {reason: int(n) for reason, n in tx.run(_ALONE, now)}


def _known(tx: Transaction, source: str | None, limit: int, paused: Mapping[str, HostPause]) -> list[HostStanding]:
    """Return the hosts that have items. Where not all are looked at, what is due is found by its index as well."""
    sql = _LOOK.format(states=_STATES, of_source="" if source is None else "WHERE source = ?")
    rows = tx.run(sql, *_given(source), MOST_LOOKED_AT)
    is_least = sum(sum(row[3:]) for row in rows) >= MOST_LOOKED_AT
    items = {row[:2]: {state.value: n for state, n in zip(ItemState, row[3:], strict=True) if n} for row in rows}
    next_at = {row[:2]: row[2] for row in rows}
    for place in due.places(tx, source=source, limit=limit) if is_least else ():
        seen = items.setdefault(place, {})
        seen["due"] = max(seen.get("due", 0), int(tx.run(_DUE, *place, MOST_COUNTED)[0][0]))
    return [
        HostStanding(host, of, by_state, next_at.get((of, host)), paused.get(host), is_least=is_least)
        for (of, host), by_state in items.items()
        if host  # an item that came without a URL has none
    ]


def _given(source: str | None) -> tuple[str, ...]:
    return () if source is None else (source,)


def _robots(tx: Transaction, names: Collection[str]) -> dict[str, RobotsRow]:
    """Return what is known of the robots.txt of hosts: of two schemes, what was learned last."""
    origins = {clean.key(f"{scheme}://{host}"): host for host in names for scheme in ("http", "https")}
    known = sorted(hosts.robots(tx, origins).values(), key=lambda row: row.fetched_at)
    return {origins[row.origin]: row for row in known}


def _urgency(one: HostStanding) -> tuple[int, int, int, str, str]:
    more = sum(one.items.get(state, 0) for state in ("leased", "pushed", "scheduled"))
    return -(one.pause.until if one.pause else 0), -one.due, -more, one.host, one.source or ""
