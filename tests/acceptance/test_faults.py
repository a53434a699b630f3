"""What a worker depends on fails in every way around it, one after the other; it goes on by itself each time.

One worker process lives through all faults of a test, while pages arrive. After each it must go on well within a
minute; in the end the store holds what a run without faults would have come to.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.conftest import Penstock
from tests.support.corpus import corpus
from tests.support.crawl import Crawl, payloads, wait_for
from tests.support.load import Load
from tests.support.processes import children
from tests.support.proxy import Proxy
from tests.support.servers import Postgres, Redis, folder_for_servers

PAGES = 12_000
SECONDS = 40.0  # until it goes on after a fault; the longest wait is for an answer that was lost


@pytest.fixture
def folder() -> Iterator[Path]:
    with folder_for_servers() as made:
        yield made


@pytest.fixture
def redis_server(folder: Path) -> Iterator[Redis]:
    server = Redis(folder / "redis")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def postgres_server(folder: Path) -> Iterator[Postgres]:
    server = Postgres(folder, "max_connections=20")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk that can be filled; only root can make one, else a plain folder."""
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", disk], capture_output=True, check=False)
    yield disk
    if os.path.ismount(disk):
        subprocess.run(["umount", "--lazy", disk], check=True)


@contextlib.contextmanager
def filled(disk: Path) -> Iterator[None]:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 512):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    yield
    filler.unlink()


class Run:
    """A worker under load, and the faults that it meets."""

    def __init__(self, crawl: Crawl, home: Path, **environ: str) -> None:
        self.crawl = crawl
        self.penstock = Penstock(home, **{**crawl.environ(), **environ})
        self.worker = self.penstock.start("work", "--only", "ingest", "--concurrency", "2")
        self.load = Load(crawl, corpus(seed=11, pages=PAGES))

    @contextlib.contextmanager
    def fault(self, name: str) -> Iterator[None]:
        """Let something fail for the time of the block, and wait until the worker goes on."""
        self.goes_on(f"the worker to be at work before: {name}")
        yield
        self.goes_on(f"the worker to go on after: {name}")

    def goes_on(self, what: str) -> None:
        before = self.crawl.settled()
        wait_for(what, lambda: self.crawl.settled() > before + 20, SECONDS)
        assert self.worker.poll() is None

    def stands_still(self) -> bool:
        """Tell whether nothing was done for a while."""
        before = self.crawl.settled()
        time.sleep(1.5)
        return self.crawl.settled() == before

    def ends_well(self) -> None:
        """Check the store when all is done; the worker must be the one that began."""
        self.crawl.wait_until_at_rest()
        assert self.worker.poll() is None
        self.crawl.check(self.load.pushed)


@contextlib.contextmanager
def running(crawl: Crawl, home: Path, **environ: str) -> Iterator[Run]:
    run = Run(crawl, home, **environ)
    try:
        with run.load:
            yield run
        run.ends_well()
    finally:
        run.penstock.close()
        crawl.close()


def test_a_worker_outlives_all_that_happens_to_redis_and_to_sqlite(
    redis_server: Redis, small_disk: Path, folder: Path
) -> None:
    crawl = Crawl(redis_server.url, f"sqlite:///{small_disk / 'store.db'}")
    with (
        Proxy(redis_server.socket) as network,
        running(crawl, folder / "home", PENSTOCK_REDIS_URL=f"redis://127.0.0.1:{network.port}/0") as run,
    ):
        with run.fault("Redis killed, and back after three seconds"):
            redis_server.kill()
            time.sleep(3)
            redis_server.start()
        with run.fault("Redis stopped in its tracks"):
            redis_server.pause()
            time.sleep(8)
            redis_server.resume()
        with run.fault("the network to Redis cut"):
            network.cut()
            time.sleep(2)
            network.restore()
        with run.fault("the network to Redis silent"):
            network.stall()
            time.sleep(3)
            network.restore()
        with run.fault("the network to Redis slow"):
            network.delay = 0.2
            time.sleep(3)
            network.restore()
        if os.path.ismount(small_disk):
            with run.fault("the disk of the store full"), filled(small_disk):
                wait_for("the worker to stand still", run.stands_still)


def test_a_worker_outlives_all_that_happens_to_postgresql(
    redis_server: Redis, postgres_server: Postgres, folder: Path
) -> None:
    direct = postgres_server.database()
    crawl = Crawl(redis_server.url, direct)
    with (
        Proxy(postgres_server.socket) as network,
        running(crawl, folder / "home", PENSTOCK_STORE_URL=over_tcp(direct, network.port)) as run,
    ):
        with run.fault("PostgreSQL killed, and back after three seconds"):
            postgres_server.kill()
            time.sleep(3)
            postgres_server.start()
        with run.fault("PostgreSQL stopped in its tracks"):
            postgres_server.pause()
            time.sleep(4)
            postgres_server.resume()
        with run.fault("PostgreSQL out of connections"), taking_all(postgres_server.url):
            time.sleep(4)
        with run.fault("the network to PostgreSQL cut"):
            network.cut()
            time.sleep(2)
            network.restore()
        with run.fault("the network to PostgreSQL slow"):
            network.delay = 0.1
            time.sleep(3)
            network.restore()


def over_tcp(url: str, port: int) -> str:
    return url.partition("?")[0].replace("@/", f"@127.0.0.1:{port}/")


@contextlib.contextmanager
def taking_all(url: str) -> Iterator[None]:
    """Hold every connection that the server has, those of others too."""
    with contextlib.ExitStack() as held:
        first = held.enter_context(psycopg.connect(url, autocommit=True))
        for _ in range(2):
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    held.enter_context(psycopg.connect(url))
            first.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'penstock'")
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                held.enter_context(psycopg.connect(url))
        yield


def test_a_flushed_redis_is_told_by_the_audit_and_made_good_by_pushing_again(redis_server: Redis, folder: Path) -> None:
    pushes = corpus(seed=3, pages=900)
    pages = payloads(pushes)
    crawl = Crawl(redis_server.url, f"sqlite:///{folder / 'store.db'}")
    penstock = Penstock(folder / "home", **crawl.environ(), PENSTOCK_BATCH_SIZE="20")
    try:
        worker = penstock.start("work", "--only", "ingest", "--concurrency", "2")
        crawl.stream.push(pages[:300])
        crawl.wait_until_at_rest()
        with in_its_tracks(worker.pid, folder / "store.db"):
            crawl.stream.push(pages[300:700])
            epoch, accepted = crawl.stream.accepted()
            crawl.store.note_accepted(epoch=epoch, accepted=accepted, first_waiting=None, now=time.time_ns() // 1000)
            redis_server.client().flushall()
        crawl.stream.push(pages[700:])
        crawl.wait_until_at_rest()
        lost = len(pushes) - crawl.settled()
        assert 360 <= lost <= 400  # two processes had up to twenty on their way
        told = penstock.json("audit", code=1)
        assert told["difference"] == lost
        assert any(epoch in sentence and str(lost) in sentence for sentence in told["explained"])
        crawl.stream.push(pages)
        crawl.wait_until_at_rest()
        penstock.run("audit", "--acknowledge", "Redis was flushed; all was pushed again", code=None)
        crawl.check(pushes)
        assert worker.poll() is None
    finally:
        penstock.close()
        crawl.close()


@contextlib.contextmanager
def in_its_tracks(pid: int, database: Path) -> Iterator[None]:
    """Stop a process and its children for the time of the block, none of them while it writes to the database."""
    with contextlib.closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for one in (pid, *children(pid)):
            os.kill(one, signal.SIGSTOP)
    yield
    for one in (pid, *children(pid)):
        os.kill(one, signal.SIGCONT)
