"""What a process remembers of hosts from one fetch task to the next: their robots.txt, and when to ask the gate again.

All of it can be lost: the rules stand in the store, the times in the gate.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from tasks.fetch_ports import Answer, Frontier, HostDue, RobotsRow
from tasks.steps import robots
from tasks.steps.robots import Rules

_MOST: Final = 10_000  # origins, and hosts, that are remembered; then all are forgotten


class Manners:
    """The rules of origins by ``user_agent``, the hosts that are closed for now, and where the look at hosts ended."""

    def __init__(self, store: Frontier, user_agent: str) -> None:
        self._store = store
        self._token = robots.product_token(user_agent)
        self._rules: dict[str, tuple[RobotsRow, Rules | None]] = {}
        self._closed: dict[str, int] = {}
        self.cursor: tuple[str, str] | None = None

    def load(self, origins: Iterable[str], now: int) -> None:
        """Read what the store knows of origins that this process does not, or no longer."""
        unknown = {one for one in origins if self._current(one, now) is None}
        if unknown:
            for row in self._store.robots(unknown).values():
                self._keep(row)

    def learn(self, origin: str, answer: Answer, now: int) -> RobotsRow:
        """Store what asking for an origin's robots.txt came to; a redirect is one too many."""
        old = self._rules.get(origin)
        row = robots.row_of(origin, answer, now, old[0] if old else None)
        self._store.put_robots(row)
        self._keep(row)
        return row

    def known(self, origin: str, now: int) -> RobotsRow | None:
        """Return what is known of an origin, None where its robots.txt has to be asked for."""
        current = self._current(origin, now)
        return current[0] if current else None

    def allows(self, origin: str, url: str) -> bool:
        """Tell whether a URL may be fetched by the rules of its origin, which are known."""
        rules = self._rules[origin][1]
        return rules is None or rules.allowed(url)

    def delay_us(self, origin: str, own_us: int) -> int:
        """Return what lies between two requests: as the source says, or the origin's rules, whichever is more."""
        known = self._rules.get(origin)
        asked = known[1].crawl_delay if known and known[1] else 0.0
        return max(own_us, round(asked * 1_000_000))

    def close(self, host: str, until: int) -> None:
        """Leave a host out until then."""
        if len(self._closed) >= _MOST:
            self._closed.clear()
        self._closed[host] = until

    def open_among(self, hosts: Collection[HostDue], now: int) -> list[HostDue]:
        """Return those that are not closed now."""
        return [one for one in hosts if self._closed.get(one.host, 0) <= now]

    def opens(self, host: str) -> int:
        """Return until when a host is closed; 0 where nothing is known of that."""
        return self._closed.get(host, 0)

    def opens_at(self, now: int) -> int | None:
        """Return when the first closed host opens again."""
        return min((at for at in self._closed.values() if at > now), default=None)

    def _current(self, origin: str, now: int) -> tuple[RobotsRow, Rules | None] | None:
        known = self._rules.get(origin)
        return known if known and known[0].expires_at > now else None

    def _keep(self, row: RobotsRow) -> None:
        if len(self._rules) >= _MOST:
            self._rules.clear()
        self._rules[row.origin] = row, None if row.body is None else robots.read_rules(row.body, self._token)
