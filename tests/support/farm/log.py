"""The farm's log: a line for each request, when it has ended."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

CUT = 0  # the status of an answer that nobody waited for
DROPPED = 1  # of one that the host did not give, as it went down


class Asked(NamedTuple):
    """One request. Times are microseconds of the machine's monotonic clock, which all processes share."""

    begun: int
    ended: int
    site: int
    path: str
    status: int
    under_way: int  # at this host when it began, itself included
    retry_after: int  # seconds that the answer asked for
    agent: str  # the first word of its User-Agent

    @property
    def item(self) -> str:
        """The item that was asked for; "" for anything else."""
        return self.path.removeprefix("/news/") if self.path.startswith("/news/") else ""

    def line(self) -> str:
        return " ".join(map(str, self)) + "\n"


def parsed(line: str) -> Asked:
    begun, ended, site, path, status, under_way, retry_after, agent = line.split()
    return Asked(int(begun), int(ended), int(site), path, int(status), int(under_way), int(retry_after), agent)


class Log:
    """Reads the log while it grows."""

    def __init__(self, path: Path) -> None:
        self._path, self._at, self._rest = path, 0, ""
        self.asked: list[Asked] = []  # in the order of their ends
        self.pages = 0  # that were answered with 200

    def read(self) -> list[Asked]:
        """Read what is new; return all."""
        with self._path.open(encoding="utf-8") as file:
            file.seek(self._at)
            text = self._rest + file.read()
            self._at = file.tell()
        *lines, self._rest = text.split("\n")
        fresh = [parsed(line) for line in lines]
        self.asked += fresh
        self.pages += sum(one.status == 200 and bool(one.item) for one in fresh)
        return self.asked


def by_site(asked: Iterable[Asked]) -> dict[int, list[Asked]]:
    """Return the requests to each host, in the order in which they began."""
    found: dict[int, list[Asked]] = defaultdict(list)
    for one in sorted(asked):
        found[one.site].append(one)
    return found


def now_us() -> int:
    """Return the log's time."""
    return time.monotonic_ns() // 1000
