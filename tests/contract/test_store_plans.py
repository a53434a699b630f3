from __future__ import annotations

import re
from collections.abc import Iterator
from types import ModuleType

import psycopg
import pytest

from worker.store import (
    arrays,
    contents,
    deliveries,
    failures,
    items,
    near,
    open_store,
    pages,
    payloads,
    postgres,
    revisions,
)
from worker.store.driver import Statement

GENERIC_PLAN = 160_000  # the first version that can
COMMITTING = (pages, contents, revisions, payloads, items, failures, deliveries, near)


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
        for name, statement, forms in (
            (name, one, forms) for module in COMMITTING for name, one in statements(module) for forms in forms_of(one)
        ):
            numbers = iter(range(1, 100))
            sql = re.sub("%b", lambda _: f"${next(numbers)}", postgres.compiled(statement, forms).decode())  # noqa: B023
            found = connection.execute(f"EXPLAIN (GENERIC_PLAN) {sql}".encode(), prepare=False).fetchall()
            plan = [str(row[0]) for row in found]
            assert not whole_tables(plan), (name, forms, plan)
            looked_at += 1
    store.close()
    assert looked_at > 60


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
