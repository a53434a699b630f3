"""A crawl whose fetchers are killed all the time: of each kill it is noted which items' leases went with it."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.steps.page import Payload
from tests.chaos.crawl_verdicts import CrawlEnd, Key, judge
from tests.chaos.look import Look
from tests.chaos.plan import Fault, StoreKind
from tests.chaos.product import Product
from tests.chaos.run import TICK_SECONDS, prepare
from tests.chaos.servers import below
from tests.chaos.system import Group, Workers
from tests.support.farm.running import Farm, farm
from tests.support.farm.sites import ROOT, Robots, Site, Trouble
from tests.support.processes import is_running
from tests.support.servers import folder_for_servers
from worker.supervisor import penstock

FETCHERS = 3
CALM_SECONDS = 1.0  # between the first page that is fetched and the first kill
HUNTED = 0.7  # of the victims are looked for among those that have items in hand
GONE_SECONDS = 10.0  # until the pool of a killed worker must be gone
REST_SECONDS = 180.0  # for what is left to do after the last kill
START_SECONDS = 60.0
ENDED = "('fetched', 'failed', 'gone', 'unroutable', 'bounded')"
OPEN = f"SELECT state, count(*) FROM item WHERE state NOT IN {ENDED} GROUP BY state"  # noqa: S608 (constants)
LEASES = "SELECT source, item_key, lease_token FROM item WHERE state = 'leased'"
SETTINGS = {"FETCH_LEASE_SECONDS": "10", "RETRY_BASE_SECONDS": "0.5", "RETRY_MAX_SECONDS": "2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlOptions:
    """What a crawl is to be."""

    store: StoreKind
    seed: int
    items: int
    hosts: int
    kills: int
    every: float  # seconds between two kills, on average
    folder: Path  # for logs and report


@dataclass(slots=True)
class Kills:
    """What was killed, and what went with it."""

    targets: Counter[str] = field(default_factory=Counter)
    lost: Counter[Key] = field(default_factory=Counter)  # how often an item's lease was lost
    with_leases: int = 0  # kills that cost at least one

    def note(self, target: str, lost: set[Key]) -> None:
        self.targets[target] += 1
        self.lost.update(lost)
        self.with_leases += bool(lost)


def sites_of(options: CrawlOptions) -> list[Site]:
    """Return hosts of many kinds, slow enough that the crawl lasts as long as the kills."""
    rng = random.Random(options.seed)
    items = options.items // options.hosts
    longest = options.kills * options.every / items
    return [_site(number, options.seed, items, rng.uniform(0.6, 1.0) * longest) for number in range(options.hosts)]


def _site(number: int, seed: int, items: int, delay: float) -> Site:
    robots = {1: Robots(digit="7"), 2: Robots(crawl_delay=round(delay, 2)), 3: Robots(status=404)}
    return Site(
        number=number,
        seed=seed,
        items=items,
        gone_every=(0, 0, 13, 0)[number % 4],
        delay_seconds=0.05 if number % 5 == 2 else round(delay, 3),
        concurrency=1 + number % 3,
        robots=robots.get(number % 5, Robots()),
        busy=Trouble(after=4, seconds=3.0) if number % 10 == 5 else None,
        down=Trouble(after=6, seconds=1.5) if number % 10 == 8 else None,
    )


def kill_plan(options: CrawlOptions) -> Iterator[Fault]:
    """Draw the kills: when, what of a worker, and which one."""
    rng, at = random.Random(options.seed), CALM_SECONDS
    for _ in range(options.kills):
        yield Fault(at, rng.choices(("child", "main", "tree"), (6, 3, 1))[0], 0.0, rng.random())
        at += rng.uniform(0.2, 1.8) * options.every


class Crawl:
    """penstock crawling a farm: one worker that ingests, and fetchers of which each has its leases in its own name."""

    def __init__(self, options: CrawlOptions, farm: Farm, product: Product, home: Path) -> None:
        self.options, self.farm, self.product = options, farm, product
        self._look = Look(product.store_url)
        self.kills = Kills()
        (home / "sources.toml").write_text(farm.profiles())
        self.fetchers = [self._group(f"fetch-{number}", "fetch") for number in range(1, FETCHERS + 1)]
        self.workers = Workers([self._group("ingest", "ingest,retry"), *self.fetchers])

    def _group(self, name: str, roles: str) -> Group:
        environ = {f"PENSTOCK_{key}": value for key, value in {**SETTINGS, "RUN": name, "USER_AGENT": name}.items()}
        log = self.options.folder / f"{name}.log"
        log.unlink(missing_ok=True)
        command = [sys.executable, "-P", *penstock("work", "--only", roles, "--concurrency", "1")]
        return Group(name, command, {**self.product.environ, **environ}, log)

    def push_roots(self) -> None:
        roots = [(site, site.item(ROOT)) for site in self.farm.sites]
        self.product.send(
            [
                Payload(source=site.name, item=root, url=self.farm.url(site, root), body=site.page(root))
                for site, root in roots
            ]
        )

    def wait_for_first_page(self) -> None:
        ends = time.monotonic() + START_SECONDS
        while not self.farm.pages_answered():
            if time.monotonic() > ends:
                raise TimeoutError("nothing was fetched; see the workers' logs")
            self.tend()

    def tend(self) -> None:
        self.workers.tend()
        time.sleep(TICK_SECONDS)

    def carry_out(self, plan: Sequence[Fault]) -> None:
        """Kill, each time as soon as it is time and there is somebody to kill, as long as there is something to do."""
        began = time.monotonic()
        for fault in plan:
            while time.monotonic() - began < fault.at:
                self.tend()
            while any(self.left().values()) and not self._kill(fault):
                self.tend()

    def _kill(self, fault: Fault) -> bool:
        """Kill a fetcher, or a part of it; False when none of them is at work."""
        running = [one for one in self.fetchers if one.pid and one.children()]
        if not running:
            return False
        busy = [one for one in running if self._leases(one)]
        among = busy if busy and fault.draw < HUNTED else running
        group = among[int(fault.draw * 1000) % len(among)]
        self.kills.note(fault.kind, self._kill_part(group, fault.kind))
        return True

    def _kill_part(self, group: Group, part: str) -> set[Key]:
        """Kill a part of a worker; return the items whose leases nobody holds any more.

        The victims stand still while they are looked up: what they hold then they cannot settle any more. The pool of
        a main process that was killed ends by itself, and may claim items until then.
        """
        main = group.pid
        assert main is not None
        pool, whole = group.children(), below(main)
        victims = {"child": pool, "main": [main], "tree": [main, *whole]}[part]
        _send(signal.SIGSTOP, victims)
        lost = self._leases(group)
        group.expected = part != "child"
        _send(signal.SIGKILL, victims)
        if part == "child":
            return lost
        ends = time.monotonic() + GONE_SECONDS
        while any(map(is_running, whole)):
            if time.monotonic() > ends:
                raise TimeoutError(f"processes of {group.name} outlive it")
            time.sleep(0.01)
        return lost | self._leases(group)

    def _leases(self, group: Group) -> set[Key]:
        rows = self._look.rows(LEASES)
        return {(row[0], row[1]) for row in rows if row[2].startswith(f"{group.name}/")}

    def left(self) -> Mapping[str, int]:
        """Return what is not at rest yet."""
        return {**self.product.left(), **{f"items {state}": count for state, count in self._look.rows(OPEN)}}

    def come_to_rest(self) -> Mapping[str, int]:
        ends = time.monotonic() + REST_SECONDS
        while any((left := self.left()).values()) and time.monotonic() < ends:
            self.tend()
        return left

    def close(self) -> None:
        self._look.close()


def _send(number: signal.Signals, pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def run(options: CrawlOptions) -> dict[str, Any]:
    """Crawl, kill, and judge what is left and what the hosts saw; return the report."""
    options.folder.mkdir(parents=True, exist_ok=True)
    with folder_for_servers() as folder, ExitStack() as stack:
        server, _, url, _ = prepare(options.store, folder, stack)
        product = Product(folder, server, url, url, direct=True)
        stack.callback(product.close)
        made = stack.enter_context(farm(sites_of(options), options.folder))
        crawl = Crawl(options, made, product, folder / "home")
        stack.callback(crawl.close)
        stack.callback(crawl.workers.kill)
        seconds, left = _play(crawl)
        end = CrawlEnd(
            farm=made, asked=made.asked(), product=product, left=left, lost=crawl.kills.lost,
            kills=crawl.kills.targets.total(), planned=options.kills, groups=crawl.workers.groups,
        )  # fmt: skip
        verdicts = judge(end)
    return {
        **{name: getattr(options, name) for name in ("store", "seed", "items", "hosts")},
        "kills": dict(crawl.kills.targets),
        "kills_in_all": end.kills,
        "kills_that_cost_leases": crawl.kills.with_leases,
        "leases_lost": crawl.kills.lost.total(),
        "seconds": round(seconds, 1),
        "holds": all(one.holds for one in verdicts),
        "verdicts": [{"name": one.name, "holds": one.holds, "seen": one.seen} for one in verdicts],
    }


def _play(crawl: Crawl) -> tuple[float, Mapping[str, int]]:
    """Let it crawl under the kills until all is done; return how long that took, and what is left to do."""
    crawl.workers.tend()
    crawl.push_roots()
    crawl.wait_for_first_page()
    began = time.monotonic()
    crawl.carry_out(list(kill_plan(crawl.options)))
    left = crawl.come_to_rest()
    seconds = time.monotonic() - began
    crawl.workers.stop()
    return seconds, left
