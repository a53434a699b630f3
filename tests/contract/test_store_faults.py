"""A store whose database is locked, silent, or at work for another: a batch is written whole and once, or not."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg
import pytest

from tasks.errors import Permanent, StoreConflict, StoreUnavailable
from tests.support.arrivals import commit, page
from tests.support.proxy import Proxy
from worker.store import SqlStore, open_store
from worker.store.driver import Driver, Transaction, insertion, statement
from worker.store.postgres import PostgresDriver

Result = TypeVar("Result")


def _socket(url: str) -> Path:
    query = parse_qs(urlsplit(url).query)
    return Path(unquote(query["host"][0])) / f".s.PGSQL.{query.get('port', ['5432'])[0]}"


def _over_tcp(url: str, port: int) -> str:
    return url.partition("?")[0].replace("@/", f"@127.0.0.1:{port}/")


def test_a_server_that_has_gone_silent_is_given_up_and_connected_to_anew(fresh_postgres_url: str) -> None:
    if "host=" not in fresh_postgres_url:
        pytest.skip("the server is not on a socket of this machine")
    with Proxy(_socket(fresh_postgres_url)) as network:
        store = open_store(_over_tcp(fresh_postgres_url, network.port))
        assert isinstance(store._driver, PostgresDriver)
        connection = store._driver._open()
        connection.silence_seconds = 0.5
        network.stall()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"no answer for 0\.5 seconds"):
            commit(store, page("1", "one"))
        assert time.monotonic() - began < 3
        network.restore()
        assert commit(store, page("1", "one")) == ["new"]
        store.close()


_PUT = statement(
    "INSERT INTO content (content_hash, observed_at, source, item_key) SELECT content_hash, 1, 's', 'k' FROM {rows}",
    content_hash="text",
)


@pytest.mark.parametrize(
    "then",
    [
        lambda _: None,
        lambda tx: tx.run("SELECT 1"),
        lambda tx: tx.send(_PUT, [("b",)]),
        lambda tx: tx.insert(insertion("content", content_hash="text"), [("b",)]),
    ],
    ids=["the end", "run", "send", "insert"],
)
def test_what_is_sent_and_goes_wrong_is_told_later_and_undone(
    store: SqlStore, then: Callable[[Transaction], None]
) -> None:
    store.prepare()
    with pytest.raises((StoreConflict, Permanent)), store._driver.transaction() as tx:  # noqa: PT012 (which call raises depends on the database)
        tx.send(_PUT, [("a",)])
        tx.send(_PUT, [("a",)])
        then(tx)
    with store._driver.transaction() as tx:
        assert tx.run("SELECT count(*) FROM content") == [(0,)]
        tx.send(_PUT, [("a",)])
        assert tx.run("SELECT count(*) FROM content") == [(1,)]
    assert commit(store, page("1", "one")) == ["new"]


def _meanwhile(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_two_stores_that_lock_the_same_pages_in_turn_both_end_with_their_effects_once(store_url: str) -> None:
    stores = [open_store(store_url) for _ in range(2)]
    keys = [str(number) for number in range(40)]

    def write(store: SqlStore, mark: str, order: list[str]) -> None:
        for turn in range(6):
            commit(store, *(page(key, f"{mark} {turn} of {key}", at=turn) for key in order))

    threads = [_meanwhile(partial(write, stores[0], "a", keys)), _meanwhile(partial(write, stores[1], "b", keys[::-1]))]
    for thread in threads:
        thread.join(60)
    counts = stores[0].counts()
    assert counts.pages == 40
    assert sum(counts.outcomes.values()) == 2 * 6 * 40
    for store in stores:
        store.close()


def test_a_serialisation_failure_is_run_again_whole(fresh_postgres_url: str) -> None:
    """The database's own default makes each transaction serializable; two batches then read what the other writes."""
    with psycopg.connect(fresh_postgres_url, autocommit=True) as admin:
        name = admin.execute("SELECT current_database()").fetchone()
        assert name is not None
        admin.execute(f"""ALTER DATABASE "{name[0]}" SET default_transaction_isolation = 'serializable'""".encode())
    stores = [_Counting.on(fresh_postgres_url) for _ in range(2)]

    def write(store: SqlStore, mark: str) -> None:
        for turn in range(15):
            commit(store, *(page(str(key), f"{mark} {turn} of {key}", at=turn) for key in range(10)))

    threads = [_meanwhile(partial(write, store, mark)) for store, mark in zip(stores, "ab", strict=True)]
    for thread in threads:
        thread.join(60)
    counts = stores[0].counts()
    assert sum(counts.outcomes.values()) == 2 * 15 * 10
    assert counts.pages == 10
    assert sum(store.conflicts for store in stores) > 0
    for store in stores:
        store.close()


class _Counting(SqlStore):
    """A store that counts how often it was run again, and tries for as long as it takes."""

    conflicts = 0

    @classmethod
    def on(cls, url: str) -> _Counting:
        driver: Driver = PostgresDriver(url)
        store = cls(driver, attempts=100)
        store.prepare()
        return store

    def _again(self, work: Callable[[], Result]) -> Result:
        def counted() -> Result:
            try:
                return work()
            except StoreConflict:
                self.conflicts += 1
                raise

        return super()._again(counted)


def test_a_file_that_is_locked_for_longer_than_one_waits_takes_the_batch_afterwards(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'x.db'}")
    with store._driver.transaction() as tx:
        tx.run("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.4, lambda: other.execute("ROLLBACK"))
    release.start()
    assert commit(store, page("1", "a")) == ["new"]
    release.join()
    other.close()
    assert store.counts().outcomes["new"] == 1
    store.close()
