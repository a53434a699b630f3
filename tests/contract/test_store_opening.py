from __future__ import annotations

import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.script import ScriptDirectory

import worker.store
from tasks.errors import StoreConflict, StoreUnavailable, UsageError
from tests.support.arrivals import NOW, broken, commit, item, page, retry_of, settle
from worker.store import SqlStore, migrate, open_store, schema
from worker.store.driver import Driver
from worker.store.postgres import PostgresDriver
from worker.store.schema import HEAD


def test_the_head_in_the_code_is_the_head_of_the_migrations() -> None:
    scripts = ScriptDirectory(str(Path(worker.store.__file__).with_name("migrations")))
    assert scripts.get_current_head() == HEAD


def test_tables_are_made_once(store_url: str) -> None:
    assert migrate(store_url) is True
    assert migrate(store_url) is False


def first_use(url: str, ready: Any) -> None:
    """Open a store and commit to it, as a worker's process does."""
    ready.wait(60)
    store = open_store(url)
    commit(store, page("1", f"text {os.getpid()}"))
    store.close()


def test_workers_that_open_an_empty_store_at_once_make_the_tables_once(store_url: str) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Barrier(3)
    workers = [spawn.Process(target=first_use, args=(store_url, ready)) for _ in range(3)]
    for one in workers:
        one.start()
    for one in workers:
        one.join(120)
    assert [one.exitcode for one in workers] == [0, 0, 0]
    store = open_store(store_url)
    assert store.counts().pages == 1
    store.close()


def test_threads_that_open_an_empty_store_at_once_make_the_tables_once(store_url: str) -> None:
    made: list[bool] = []
    threads = [threading.Thread(target=lambda: made.append(migrate(store_url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 4
    assert not migrate(store_url)


def old_store(url: str) -> None:
    """Make the tables as the first release did."""
    driver = worker.store._driver(url)
    with driver.connection() as connection:
        schema._upgrade(driver, connection, "r0001")
    assert schema.stored_revision(driver) == "r0001"
    driver.close()


def test_workers_that_open_an_old_store_at_once_bring_it_up_to_date_once(store_url: str) -> None:
    old_store(store_url)
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Barrier(2)
    workers = [spawn.Process(target=first_use, args=(store_url, ready)) for _ in range(2)]
    for one in workers:
        one.start()
    for one in workers:
        one.join(120)
    assert [one.exitcode for one in workers] == [0, 0]
    assert not migrate(store_url)


def test_threads_that_open_an_old_store_at_once_bring_it_up_to_date_once(store_url: str) -> None:
    old_store(store_url)
    with ThreadPoolExecutor(4) as pool:
        assert any(pool.map(lambda _: migrate(store_url), range(4)))
    assert not migrate(store_url)


def test_a_migration_that_meets_a_deadlock_is_run_again(fresh_postgres_url: str) -> None:
    old_store(fresh_postgres_url)
    with psycopg.connect(fresh_postgres_url) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SET deadlock_timeout = '60s'")  # the migration is the one that notices
        other.execute("UPDATE failure SET attempts = 0")
        migrated = pool.submit(migrate, fresh_postgres_url)
        while not blocked(fresh_postgres_url):
            time.sleep(0.01)
        other.execute("SELECT count(*) FROM delivery")
        other.commit()
        assert migrated.result(60) is True


def test_a_migration_waits_for_another_and_tells_what_is_in_its_way_as_a_conflict(store_url: str) -> None:
    old_store(store_url)
    driver = worker.store._driver(store_url)
    with driver.transaction() as tx:
        waits, shorter = "PRAGMA busy_timeout", "PRAGMA busy_timeout = 50"
        if tx.locks_rows:
            waits, shorter = "SHOW lock_timeout", "SET lock_timeout = '50ms'"
            tx.run(driver.migration_lock())
        with driver.connection() as own:
            assert own.execute(waits).fetchone()[0] in {"3590s", 3_600_000}
        with pytest.raises(StoreConflict):
            impatient(driver, shorter)
    driver.close()


def impatient(driver: Driver, shorter: str) -> None:
    """Migrate on a connection that waits less."""
    with driver.connection() as connection:
        connection.execute(shorter)
        connection.commit()
        schema._upgrade(driver, connection)


def test_a_store_of_a_newer_penstock_is_refused(store_url: str) -> None:
    store = open_store(store_url)
    with store._driver.transaction() as tx:
        tx.run("UPDATE alembic_version SET version_num = 'r9999'")
    store.close()
    with pytest.raises(UsageError, match="newer penstock"):
        open_store(store_url)


def test_opening_a_store_that_is_up_to_date_loads_no_migration_tool(store_url: str) -> None:
    migrate(store_url)
    code = (
        "import sys; from worker.store import open_store; open_store(sys.argv[1]).close(); print(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, store_url], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "worker.store.commit" in loaded
    assert not loaded & {"alembic", "sqlalchemy"}


@pytest.mark.parametrize("url", ["mysql://h/x", "penstock.db", ""])
def test_another_kind_of_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="begins with sqlite"):
        open_store(url)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_text("not a database, but long enough to be read as the header of one\n" * 40)
    with pytest.raises(UsageError, match="is not a penstock store"):
        open_store(f"sqlite:///{path}")


def test_a_store_that_is_away_is_connected_to_when_it_is_back(tmp_path: Path) -> None:
    path = tmp_path / "later" / "x.db"
    store = open_store(f"sqlite:///{path}")
    with pytest.raises(StoreUnavailable):
        store.counts()
    path.parent.mkdir()
    assert commit(store, page("1", "a")) == ["new"]
    store.close()


def test_a_server_that_is_away_is_told_as_such(tmp_path: Path) -> None:
    store = open_store(f"postgresql://u:p@/x?host={tmp_path}")
    with pytest.raises(StoreUnavailable, match="PostgreSQL"):
        store.counts()


def test_a_lost_connection_is_opened_again(fresh_postgres_url: str) -> None:
    store = open_store(fresh_postgres_url)
    with psycopg.connect(fresh_postgres_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'penstock'")
    with pytest.raises(StoreUnavailable):
        commit(store, page("1", "a"))
    assert commit(store, page("1", "a")) == ["new"]
    store.close()


def test_a_database_that_stays_locked_is_a_conflict_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    store = open_store(f"sqlite:///{path}")
    with store._driver.transaction() as tx:
        tx.run("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    one = page("1", "a")
    with pytest.raises(StoreConflict):
        commit(store, one)
    other.execute("ROLLBACK")
    other.close()
    assert settle(store, [one])[0].fresh
    store.close()


def test_a_deadlock_is_run_again(fresh_postgres_url: str) -> None:
    store = open_store(fresh_postgres_url)
    commit(store, page("p", "p", discovered=[item("1")]), page("2", "two"))
    with psycopg.connect(fresh_postgres_url) as other:
        # Take what the commit needs second, wait until it waits for it, and then want what it took first.
        other.execute("SET deadlock_timeout = '60s'")
        other.execute("SELECT 1 FROM item WHERE item_key = '1' FOR UPDATE")
        outcomes: list[str] = []
        thread = threading.Thread(target=lambda: outcomes.extend(commit(store, page("2", "new"), page("1", "one"))))
        thread.start()
        while not blocked(fresh_postgres_url):
            pass
        other.execute("SELECT 1 FROM page WHERE item_key = '2' FOR UPDATE")
        other.rollback()
        thread.join(60)
    assert outcomes == ["revision", "new"]
    store.close()


def test_a_content_that_another_worker_stores_meanwhile_makes_a_duplicate(fresh_postgres_url: str) -> None:
    open_store(fresh_postgres_url).close()
    store = SqlStore(PostgresDriver(fresh_postgres_url), attempts=1)
    with psycopg.connect(fresh_postgres_url) as other:
        other.execute("INSERT INTO content (content_hash, observed_at, source, item_key) VALUES ('01a', 1, 's', '0')")
        outcomes: list[str] = []
        thread = threading.Thread(target=lambda: outcomes.extend(commit(store, page("1", "a"))))
        thread.start()
        while not blocked(fresh_postgres_url):
            pass
        other.commit()
        thread.join(60)
    assert outcomes == ["duplicate"]
    store.close()


def test_a_page_that_another_worker_stores_meanwhile_is_waited_for_and_not_begun_anew(fresh_postgres_url: str) -> None:
    open_store(fresh_postgres_url).close()
    store = SqlStore(PostgresDriver(fresh_postgres_url), attempts=1)
    with psycopg.connect(fresh_postgres_url) as other:
        other.execute(
            """INSERT INTO page
              (source, item_key, first_seen, last_seen, content_hash, head_first_seen, revisions, depth)
            VALUES ('s', '1', 1, 1, '01a', 1, 1, 0)"""
        )
        other.execute("INSERT INTO content (content_hash, observed_at, source, item_key) VALUES ('01a', 1, 's', '1')")
        outcomes: list[str] = []
        batch = [page("0", "zero"), page("1", "b"), page("2", "two")]
        thread = threading.Thread(target=lambda: outcomes.extend(commit(store, *batch)))
        thread.start()
        while not blocked(fresh_postgres_url):
            pass
        other.commit()
        thread.join(60)
    assert outcomes == ["new", "revision", "new"]
    store.close()


def test_the_same_bytes_that_arrive_during_a_retry_are_settled_with_it(fresh_postgres_url: str) -> None:
    store, late = open_store(fresh_postgres_url), open_store(fresh_postgres_url)
    commit(store, broken("1", retry_at=NOW))
    retry = retry_of(store, now=NOW, result=page("1", "a").result)
    with psycopg.connect(fresh_postgres_url) as other:
        # The late one holds the failure's row and waits for a sum; the retry waits for the failure's row.
        other.execute("SELECT 1 FROM outcome_count FOR UPDATE")
        arrives = threading.Thread(target=lambda: commit(late, broken("1", retry_at=NOW, at=5)))
        arrives.start()
        while blocked(fresh_postgres_url) < 1:
            pass
        outcomes: list[str | None] = []
        tries = threading.Thread(target=lambda: outcomes.append(store.commit_retry(retry, worker="w", now=NOW)))
        tries.start()
        while blocked(fresh_postgres_url) < 2:
            pass
        other.rollback()
        arrives.join(60)
        tries.join(60)
    assert outcomes == ["new"]
    assert {name: n for name, n in store.ledger()[0].outcomes.items() if n} == {"new": 1, "unchanged": 1}
    store.close()
    late.close()


def blocked(url: str) -> int:
    with psycopg.connect(url) as watcher:
        waiting = watcher.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'penstock' AND wait_event_type = 'Lock'"
        ).fetchone()
    return int(waiting[0]) if waiting else 0


def test_a_child_opens_its_own_connection_and_leaves_its_parents_alone(store: SqlStore) -> None:
    commit(store, page("1", "a"))
    second = page("2", "b")
    with store._driver.transaction(write=False) as tx:
        assert tx.run("SELECT count(*) FROM page") == [(1,)]
        child = os.fork()
        if child == 0:
            done = 1
            try:
                done = 0 if commit(store, second) == ["new"] else 2
            finally:
                os._exit(done)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert tx.run("SELECT count(*) FROM page") == [(1,)]
    assert commit(store, page("1", "a", at=1), page("2", "b", at=1)) == ["unchanged", "unchanged"]
    assert store.counts().pages == 2


def test_an_error_in_a_transaction_undoes_it(store: SqlStore) -> None:
    class OurFaultError(Exception):
        pass

    def half_done() -> None:
        with store._driver.transaction() as tx:
            tx.run("INSERT INTO ledger_epoch (epoch, first_seen, last_seen, accepted) VALUES ('x', ?, ?, 1)", NOW, NOW)
            raise OurFaultError

    with pytest.raises(OurFaultError):
        half_done()
    assert store.ledger() == []


def test_a_fault_of_our_sql_is_not_called_anything_else(store: SqlStore) -> None:
    with pytest.raises((sqlite3.OperationalError, psycopg.ProgrammingError)), store._driver.transaction() as tx:
        tx.run("SELECT nothing FROM nowhere")
    assert store.ledger() == []
