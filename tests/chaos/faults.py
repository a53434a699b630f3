"""The faults: each is done to a site, lasts as long as its block, and is over when that ends."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg
import redis

from tests.chaos.look import connect
from tests.chaos.plan import Fault
from tests.chaos.proxy import Proxy
from tests.chaos.servers import MAXMEMORY, Postgres, Redis, used_memory
from tests.chaos.system import Workers

FAILS = (psycopg.Error, redis.RedisError, sqlite3.Error, ProcessLookupError, LookupError)
SLOW_SECONDS = 0.15
HUNTED = 0.7  # of the killed pool processes are looked for among those that have pages in hand
HUNT_SECONDS = 1.1  # the load comes once a second


@dataclass
class Site:
    """What faults are done to."""

    workers: Workers
    redis: Redis
    postgres: Postgres | None
    store_url: str  # around the network
    busy: Callable[[], set[int]] = set  # processes that have pages in hand
    before_flush: Callable[[], None] = lambda: None
    after_loss: Callable[[float, str], None] = lambda _at, _why: None  # Redis came back with less than it had
    kills: dict[str, int] = field(default_factory=dict)

    def killed(self, target: str, count: int = 1) -> None:
        self.kills[target] = self.kills.get(target, 0) + count

    @property
    def database(self) -> Postgres:
        assert self.postgres is not None
        return self.postgres


One = TypeVar("One")
Block = Iterator[str]
FAULTS: dict[str, Callable[[Site, Fault], AbstractContextManager[str]]] = {}


def _fault(begin: Callable[[Site, Fault], Block]) -> Callable[[Site, Fault], AbstractContextManager[str]]:
    made = contextmanager(begin)
    FAULTS[begin.__name__] = made
    return made


@_fault
def child_kill(site: Site, fault: Fault) -> Block:
    child = _hunted(site) if fault.draw < HUNTED else None
    child = child or _found(site.workers.pick_child(fault.draw))
    os.kill(child, signal.SIGKILL)
    site.killed("child")
    yield f"pid {child}"


def _hunted(site: Site) -> int | None:
    """Wait a moment for a pool process that has pages in hand."""
    pool, ends = set(site.workers.children()), time.monotonic() + HUNT_SECONDS
    while time.monotonic() < ends:
        if found := pool & site.busy():
            return min(found)
    return None


@_fault
def sandbox_kill(site: Site, fault: Fault) -> Block:
    sandbox = _found(site.workers.pick_sandbox(fault.draw))
    os.kill(sandbox, signal.SIGKILL)
    site.killed("sandbox")
    yield f"pid {sandbox}"


@_fault
def group_kill(site: Site, fault: Fault) -> Block:
    group = _found(site.workers.pick(fault.draw))
    tree = fault.draw * 100 % 1 < 0.5
    count = group.kill(tree=tree)
    site.killed("group")
    yield f"{group.name}, {count} processes" if tree else f"{group.name}, its main process"


@_fault
def group_term(site: Site, fault: Fault) -> Block:
    group = _found(site.workers.pick(fault.draw))
    group.terminate()
    yield group.name


@_fault
def child_stop(site: Site, fault: Fault) -> Block:
    child = _found(site.workers.pick_child(fault.draw))
    os.kill(child, signal.SIGSTOP)
    yield f"pid {child}"
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGCONT)


@_fault
def redis_kill(site: Site, fault: Fault) -> Block:
    site.redis.kill()
    at = time.monotonic()
    site.killed("redis")
    yield f"down for {fault.seconds:.1f} s"
    site.redis.start()
    site.after_loss(at, "redis_kill")


@_fault
def postgres_kill(site: Site, fault: Fault) -> Block:
    site.database.kill()
    site.killed("postgresql")
    yield f"down for {fault.seconds:.1f} s"
    site.database.start()


@_fault
def backend_kill(site: Site, fault: Fault) -> Block:
    backends = site.database.backends()
    pid = backends[int(fault.draw * len(backends))]
    os.kill(pid, signal.SIGKILL)
    site.killed("backend")
    yield f"pid {pid}: the server ends all of them and recovers"


@_fault
def redis_stop(site: Site, fault: Fault) -> Block:
    site.redis.pause()
    yield f"for {fault.seconds:.1f} s"
    site.redis.resume()


@_fault
def postgres_stop(site: Site, fault: Fault) -> Block:
    site.database.pause()
    yield f"for {fault.seconds:.1f} s"
    site.database.resume()


@_fault
def redis_full(site: Site, fault: Fault) -> Block:
    with site.redis.client() as client:
        used = used_memory(client)
        client.config_set("maxmemory", max(1 << 20, int(used * (0.5 + fault.draw / 2))))
        yield f"{used:,} bytes used"
        client.config_set("maxmemory", MAXMEMORY)


@_fault
def redis_flush(site: Site, fault: Fault) -> Block:
    """The pool is stopped meanwhile, so that there is something to lose."""
    stopped = site.workers.children()
    _signal(stopped, signal.SIGSTOP)
    try:
        yield f"after {fault.seconds:.1f} s without workers"
        site.before_flush()
        with site.redis.client() as client:
            client.flushall()
        at = time.monotonic()
    finally:
        _signal(stopped, signal.SIGCONT)
    site.after_loss(at, "redis_flush")


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _network(kind: str, proxy_of: Callable[[Site], Proxy]) -> None:
    def cut(site: Site, fault: Fault) -> Block:
        proxy_of(site).cut()
        yield f"for {fault.seconds:.1f} s"
        proxy_of(site).restore()

    def stall(site: Site, fault: Fault) -> Block:
        """Half of the time what was held up arrives in the end, else the connections are dead."""
        proxy, dead = proxy_of(site), fault.draw < 0.5
        proxy.stall()
        yield f"for {fault.seconds:.1f} s, then {'reset' if dead else 'as if nothing had been'}"
        if dead:
            proxy.reset()
        proxy.restore()

    def slow(site: Site, fault: Fault) -> Block:
        proxy_of(site).slow(SLOW_SECONDS * (0.2 + fault.draw))
        yield f"{SLOW_SECONDS * (0.2 + fault.draw):.2f} s more each way"
        proxy_of(site).restore()

    for name, block in {"cut": cut, "stall": stall, "slow": slow}.items():
        FAULTS[f"{kind}_{name}"] = contextmanager(block)


_network("redis", lambda site: site.redis.proxy)
_network("postgres", lambda site: site.database.proxy)


@_fault
def postgres_full(site: Site, _fault: Fault) -> Block:
    """Take every connection there is; the workers' own are ended and not to be had again."""
    mine: list[Any] = []
    try:
        with suppress(psycopg.Error):
            while True:
                mine.append(connect(site.store_url))
        mine[0].execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND application_name <> 'chaos'"
        )
        with suppress(psycopg.Error):
            while True:
                mine.append(connect(site.store_url))
        yield f"{len(mine)} connections taken"
    finally:
        for one in mine:
            one.close()


@_fault
def row_locks(site: Site, fault: Fault) -> Block:
    with connect(site.store_url) as holder:
        holder.autocommit = False
        rows = holder.execute("SELECT 1 FROM page LIMIT 2000 FOR UPDATE").rowcount
        yield f"{rows} pages locked for {fault.seconds:.1f} s"
        holder.rollback()


@_fault
def deadlocks(site: Site, fault: Fault) -> Block:
    """Lock items and then pages, again and again: the workers lock them the other way round."""
    ends = threading.Event()
    baiting = threading.Thread(target=_bait, args=(site.store_url, ends, fault.draw), daemon=True)
    baiting.start()
    yield f"for {fault.seconds:.1f} s"
    ends.set()
    baiting.join(30)


def _bait(url: str, ends: threading.Event, draw: float) -> None:
    while not ends.is_set():
        with suppress(psycopg.Error), connect(url) as session:
            session.execute("SET deadlock_timeout = '20s'")  # so that the workers notice first, and are the victims
            session.execute("SET lock_timeout = '4s'")
            session.autocommit = False
            items = 500 + int(2000 * draw)
            session.execute("SELECT 1 FROM item LIMIT %s FOR UPDATE", [items])
            ends.wait(0.3)
            session.execute("SELECT 1 FROM page LIMIT 1000 FOR UPDATE")
            session.rollback()
        ends.wait(0.1)


@_fault
def sqlite_lock(site: Site, fault: Fault) -> Block:
    holder = connect(site.store_url)
    try:
        holder.execute("BEGIN IMMEDIATE")
        yield f"for {fault.seconds:.1f} s"
        holder.execute("ROLLBACK")
    finally:
        holder.close()


def _found(one: One | None) -> One:
    if one is None:
        raise LookupError("there was none")
    return one


# While one of these lasts there can be no progress: time in them does not count as time to recover.
BLOCKING: Mapping[str, bool] = {
    kind: kind not in {"child_kill", "sandbox_kill", "group_kill", "group_term", "child_stop"} for kind in FAULTS
}
