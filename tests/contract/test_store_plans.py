from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import psycopg
import pytest

from tasks.fetch_ports import ItemUnchanged
from tasks.ports import ItemLease
from tests.support.arrivals import NOW, commit, item, page
from worker.store import (
    again,
    arrays,
    budgets,
    contents,
    deliveries,
    failures,
    hosts,
    items,
    near,
    open_store,
    pages,
    payloads,
    postgres,
    revisions,
    settle,
)
from worker.store.driver import Statement

GENERIC_PLAN = 160_000  # the first version that can
COMMITTING = (pages, contents, revisions, payloads, items, again, failures, deliveries, near)
FETCHING = (settle, budgets, hosts)


def statements(module: ModuleType) -> Iterator[tuple[str, Statement]]:
    for name, value in vars(module).items():
        if isinstance(value, Statement):
            yield f"{module.__name__}.{name}", value


def test_a_plan_made_while_the_tables_are_empty_reads_none_of_them_whole(fresh_postgres_url: str) -> None:
    """A worker plans each statement once, and that may be before the first page; it keeps the plan while they grow."""
    store = open_store(fresh_postgres_url)
    looked_at = 0
    with store._driver.transaction() as tx:
        connection = tx.session
        assert isinstance(connection, psycopg.Connection)
        if connection.info.server_version < GENERIC_PLAN:
            pytest.skip("this PostgreSQL does not tell the plan of a statement without its values")
        modules = (*COMMITTING, *FETCHING)
        for name, statement, forms in (
            (name, one, forms) for module in modules for name, one in statements(module) for forms in forms_of(one)
        ):
            numbers = iter(range(1, 100))
            sql = re.sub("%b", lambda _: f"${next(numbers)}", postgres.compiled(statement, forms).decode())  # noqa: B023
            found = connection.execute(f"EXPLAIN (GENERIC_PLAN) {sql}".encode(), prepare=False).fetchall()
            plan = [str(row[0]) for row in found]
            assert not whole_tables(plan), (name, forms, plan)
            looked_at += 1
    store.close()
    assert looked_at > 60


def test_what_the_fetch_task_does_reads_no_table_whole_as_it_is_planned_while_there_is_nothing(
    fresh_postgres_url: str,
) -> None:
    """Everything is done once, and its plans are then looked at as the connection keeps them."""
    store = open_store(fresh_postgres_url)
    lease = ItemLease(
        source="s", item_key="1", item=None, url="http://h/1", host="h", depth=0, parent=None, attempts=0,
        token="r/1/a", lease_until=1,
    )  # fmt: skip
    store.hosts_due(after=("s", "h1"), limit=3, run="r", budgets={}, now=NOW)
    store.claim_items(shares={("s", f"h{n}"): n for n in range(3)}, budgets={}, run="r", lease_us=1, now=NOW)
    store.settle_items([ItemUnchanged(lease, None, None, None)], worker="w", now=NOW)
    with store._driver.transaction() as tx:
        connection = tx.session
        assert isinstance(connection, psycopg.Connection)
        if connection.info.server_version < GENERIC_PLAN:
            pytest.skip("this PostgreSQL does not tell the plan of a statement without its values")
        planned = [str(row[0]) for row in tx.run("SELECT statement FROM pg_prepared_statements")]
        looked_at = [sql for sql in planned if re.search(r"\b(item|page|run_fetch|day_fetch)\b", sql)]
        for sql in looked_at:
            found = connection.execute(f"EXPLAIN (GENERIC_PLAN) {sql}".encode(), prepare=False).fetchall()
            plan = [str(row[0]) for row in found]
            assert not whole_tables(plan), (sql, plan)
    store.close()
    assert len(looked_at) > 9


def test_what_the_fetch_task_does_reads_no_table_whole_in_sqlite(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    commit(store, page("1", "a", discovered=[item("2")]))
    asked: list[str] = []
    with store._driver.transaction() as tx:
        connection = tx.session
        assert isinstance(connection, sqlite3.Connection)
    connection.set_trace_callback(asked.append)
    (place,) = store.hosts_due(after=("s", "h"), limit=3, run="r", budgets={}, now=NOW)
    shares = {(place.source, place.host): 1}
    (lease,) = store.claim_items(shares=shares, budgets={}, run="r", lease_us=1, now=NOW)
    store.settle_items([ItemUnchanged(lease, None, None, None)], worker="w", now=NOW)
    connection.set_trace_callback(None)
    plans = [(sql, connection.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()) for sql in asked if "item" in sql]
    store.close()
    assert len(plans) > 6
    assert [(sql, row[3]) for sql, rows in plans for row in rows if row[3].startswith("SCAN item")] == []


def forms_of(statement: Statement) -> list[str]:
    """Return the forms in which columns come: of one row, of rows in which all differ, and of those of one source."""
    joined = "".join(arrays.JOINED if kind == "text" else arrays.ARRAY for _, kind in statement.columns)
    alike = "".join(
        arrays.ONE if name in {"source", "epoch", "hour", "now"} else form
        for form, (name, _) in zip(joined, statement.columns, strict=True)
    )
    width = len(statement.columns)
    return [arrays.ONE * width, arrays.ARRAY * width, joined, alike]


def whole_tables(plan: list[str]) -> list[str]:
    """Return the scans that nothing bounds; an index may be read whole too."""
    by_index = [at for at, line in enumerate(plan) if "Index Scan using" in line or "Index Only Scan using" in line]
    unbounded = [plan[at] for at in by_index if not any("Index Cond:" in line for line in plan[at + 1 : at + 2])]
    return unbounded + [line for line in plan if re.search("Seq Scan|Bitmap|Hash Join|Merge Join", line)]
