"""Crawls of one farm of 50 hosts by penstock, Scrapy, and Celery with requests, in turn.

    python -m benchmarks.fetching --report var/fetching.md

Needs ``.venv-bench`` for what penstock is compared with; what is not installed is left out. How long a crawl takes is
read from the farm's own log, and so is whether each page was asked for once. The clock and the CPU times run from the
first look that finds a page answered until all pages are where they end.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.crawlers import Crawler, Yard
from benchmarks.crawlers.celery_requests import CeleryRequests, CeleryThreads
from benchmarks.crawlers.penstock import Penstock, PenstockFetch
from benchmarks.crawlers.scrapy import Scrapy
from benchmarks.processes import Workers, cpu_seconds, every_process, memory_bytes, tree
from benchmarks.report import table
from benchmarks.servers import Servers, running
from tasks.errors import PenstockError, UsageError
from tests.support.farm import rules
from tests.support.farm.running import farm
from tests.support.farm.sites import plain_sites

HOSTS: Final = 50
CONCURRENCY: Final = 8  # of a host
SEED: Final = 6
CRAWLERS: Final[Sequence[Crawler]] = (PenstockFetch(), Penstock(), Scrapy(), CeleryRequests(), CeleryThreads())
POLL_SECONDS: Final = 0.1
SAMPLE_SECONDS: Final = 2.0
STALL_SECONDS: Final = 60.0
_HEAD: Final = (
    "Crawler", "Fetches/s", "x scrapy", "x celery-requests", "CPU ms a fetch", "Workers", "Redis", "Database",
    "Peak MB", "Fetches a run", "Most at a host", "robots.txt", "Pages",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Crawled:
    """What one crawl came to. CPU is in milliseconds a fetch."""

    fetches: int
    per_s: float
    workers_ms: float
    redis_ms: float
    database_ms: float
    farm_ms: float
    peak_mb: float  # of the workers
    most_under_way: int  # at one host
    robots_asked: bool  # of each host, before any page
    wrong: tuple[str, ...]

    @property
    def cpu_ms(self) -> float:
        """CPU in all, without the farm's."""
        return self.workers_ms + self.redis_ms + self.database_ms


def crawled(crawler: Crawler, servers: Servers, pages: int, home: Path) -> Crawled:
    """Crawl a farm with so many pages once. Raises ``PenstockError`` when the workers end or stand still."""
    home.mkdir()
    sites = plain_sites(HOSTS, seed=SEED, items=pages // HOSTS, concurrency=CONCURRENCY)
    with servers.database("fetching") as store_url, farm(sites, home) as made:
        yard = Yard(farm=made, redis_url=servers.redis_url, store_url=store_url, home=home)
        crawler.prepare(yard)
        servers.checkpoint()
        with Workers(crawler.commands(yard), environ=crawler.environ(yard), home=home) as workers:
            return _Watch(crawler, yard, servers, workers).until_done()


class _Watch:
    """Looks at a crawl until it is done."""

    def __init__(self, crawler: Crawler, yard: Yard, servers: Servers, workers: Workers) -> None:
        self._crawler, self._yard, self._servers, self._workers = crawler, yard, servers, workers
        self._wanted = crawler.fetches(yard)
        self._peak, self._sample_at = 0, 0.0

    def until_done(self) -> Crawled:
        """Wait for the first page, and for the last one; return what lay between."""
        made = self._yard.farm
        self._wait_for(1)
        begun, clock, cpu = made.pages_answered(), time.monotonic(), self._cpu()
        self._wait_for(self._wanted)
        seconds = time.monotonic() - clock
        fetches = self._wanted - begun
        spent = [(after - before) * 1000 / fetches for before, after in zip(cpu, self._cpu(), strict=True)]
        asked, sites = made.asked(), made.sites
        return Crawled(
            fetches=self._wanted,
            per_s=fetches / seconds,
            workers_ms=spent[0],
            redis_ms=spent[1],
            database_ms=spent[2],
            farm_ms=spent[3],
            peak_mb=self._peak / 1e6,
            most_under_way=max(one.under_way for one in asked),
            robots_asked=not rules.breaches(rules.against_robots, sites, asked),
            wrong=tuple(self._wrong()),
        )

    def _wait_for(self, pages: int) -> None:
        """Wait until so many pages are answered, and where those are all, until they are stored."""
        before, moved = 0, time.monotonic()
        while True:
            answered, now = self._yard.farm.pages_answered(), time.monotonic()
            if answered >= pages and (pages < self._wanted or self._crawler.stored(self._yard) >= pages):
                return
            if now >= self._sample_at:
                self._sample(now)
            if answered > before:
                before, moved = answered, now
            elif now - moved > STALL_SECONDS:
                told = f"{self._crawler.name} stands still at {answered:,} of {self._wanted:,} pages"
                raise PenstockError(f"{told}:\n{self._workers.last_lines()}")
            time.sleep(POLL_SECONDS)

    def _sample(self, now: float) -> None:
        self._workers.require_running()
        self._peak = max(self._peak, memory_bytes(tree(every_process(), self._workers.roots)))
        self._sample_at = now + SAMPLE_SECONDS

    def _cpu(self) -> list[float]:
        processes, servers = every_process(), self._servers
        roots = (self._workers.roots, [servers.redis_pid], [servers.postgres_pid], [self._yard.farm.pid])
        return [cpu_seconds(processes, one) for one in roots]

    def _wrong(self) -> list[str]:
        times = rules.times_asked(self._yard.farm.asked())
        pages = {item for one in self._yard.farm.reach for item in one.pages}
        again = sum(count > 1 for count in times.values())
        missing = len(pages - times.keys()) - (self._yard.pages - self._wanted)
        stored = self._crawler.stored(self._yard)
        return [
            *([f"{again:,} pages asked for more than once"] if again else []),
            *([f"{missing:,} pages not asked for"] if missing else []),
            *([f"{stored:,} pages stored"] if stored != self._wanted else []),
        ]


def bench(crawlers: Sequence[Crawler], *, pages: int, rounds: int) -> dict[str, list[Crawled]]:
    """Let all of them crawl in turn, each round beginning with another one."""
    found: dict[str, list[Crawled]] = {one.name: [] for one in crawlers}
    with running() as (servers, folder):
        for number in range(rounds):
            at = number * len(crawlers) // rounds
            for one in (*crawlers[at:], *crawlers[:at]):
                made = crawled(one, servers, round(pages * one.share), folder / f"{number}-{one.name}")
                found[one.name].append(made)
                print(f"round {number + 1} of {rounds}: {told(one.name, made)}", flush=True)
    return found


def told(name: str, one: Crawled) -> str:
    """Return a crawl in a line."""
    pages = "each page once" if not one.wrong else "WRONG: " + "; ".join(one.wrong)
    return (
        f"{name} {one.per_s:,.0f} fetches/s, CPU {one.cpu_ms:.2f} ms a fetch ({one.workers_ms:.2f} workers, "
        f"{one.redis_ms:.2f} Redis, {one.database_ms:.2f} database; the farm {one.farm_ms:.2f}), {one.peak_mb:.0f} MB, "
        f"at most {one.most_under_way} at a host, {one.fetches:,} fetches, {pages}"
    )


def report(crawlers: Sequence[Crawler], found: dict[str, list[Crawled]]) -> str:
    """Return the results as Markdown."""
    rates = {name: median(one.per_s for one in runs) for name, runs in found.items()}
    rows = [_row(name, runs, rates) for name, runs in found.items()]
    settings = [(one.name, one.settings) for one in crawlers]
    return f"{table(rows, _HEAD)}\n\n{table(settings, ('Crawler', 'Settings'))}\n"


def _row(name: str, runs: Sequence[Crawled], rates: dict[str, float]) -> Sequence[str]:
    def middle(what: str) -> float:
        return float(median(attrgetter(what)(one) for one in runs))

    def ratio(base: str) -> str:
        return f"{rates[name] / rates[base]:.1f}" if base in rates else ""

    speeds = [one.per_s for one in runs]
    return (
        name,
        f"{middle('per_s'):,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f})",
        ratio(Scrapy.name),
        ratio(CeleryRequests.name),
        *(f"{middle(what):.2f}" for what in ("cpu_ms", "workers_ms", "redis_ms", "database_ms")),
        f"{middle('peak_mb'):.0f}",
        f"{runs[0].fetches:,}",
        str(max(one.most_under_way for one in runs)),
        "asked" if all(one.robots_asked for one in runs) else "not asked",
        "right" if not any(one.wrong for one in runs) else "**wrong**",
    )


def _chosen(only: str | None) -> list[Crawler]:
    names = [one.name for one in CRAWLERS] if only is None else only.split(",")
    known = {one.name: one for one in CRAWLERS}
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"there is no crawler {unknown[0]!r}; there are {', '.join(known)}")
    for name in names:
        if missing := known[name].missing():
            print(f"left out: {name} needs {', '.join(missing)}")
    return [known[name] for name in names if not known[name].missing()]


def main() -> None:
    """Crawl, print each result as it comes, and in the end all of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fetching", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pages", type=int, default=20_000, help="of the farm; a task a URL gets a tenth")
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    parser.add_argument("--only", help="comma-separated names")
    parser.add_argument("--report", type=Path, help="also write the results there, as Markdown")
    given = parser.parse_args()
    crawlers = _chosen(given.only)
    made = report(crawlers, bench(crawlers, pages=given.pages, rounds=given.rounds))
    print(made)
    if given.report:
        given.report.parent.mkdir(parents=True, exist_ok=True)
        given.report.write_text(made)


if __name__ == "__main__":
    main()
