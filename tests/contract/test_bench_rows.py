"""The benchmarks' work in plain SQL stores what the reference wants, and penstock's store does too."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from benchmarks import work
from benchmarks.pages import pages
from benchmarks.peers import penstock
from benchmarks.reference import differences, expected, rows_of_tables
from tasks.steps.page import Arrival, Payload
from worker.store import open_store

COUNT = 400
Order = Callable[[Sequence[Payload]], list[list[Payload]]]


def one_by_one(made: Sequence[Payload]) -> list[list[Payload]]:
    return [[one] for one in made]


def in_batches(made: Sequence[Payload]) -> list[list[Payload]]:
    return [list(made[at : at + 150]) for at in range(0, len(made), 150)]


def shuffled(made: Sequence[Payload]) -> list[list[Payload]]:
    return in_batches(random.Random(3).sample(made, len(made)))


def twice(made: Sequence[Payload]) -> list[list[Payload]]:
    return [*in_batches(made), *one_by_one(made[:100])]


@pytest.mark.parametrize("order", [one_by_one, in_batches, shuffled, twice])
def test_the_plain_tables_hold_the_same_in_whatever_order_and_batches(fresh_postgres_url: str, order: Order) -> None:
    made = list(pages(COUNT, seed=8))
    with work.connect(fresh_postgres_url) as connection:
        connection.execute(work.TABLES.read_bytes(), prepare=False)
        for batch in order(made):
            work.handle_batch(connection, batch)
    assert differences(expected(made), rows_of_tables(fresh_postgres_url)) == []


def test_outcomes_are_the_same_one_by_one_and_in_batches(fresh_postgres_url: str) -> None:
    made = list(pages(COUNT, seed=8))
    outcomes: list[Counter[str]] = []
    for order in (one_by_one, in_batches):
        with work.connect(fresh_postgres_url) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
            connection.execute(work.TABLES.read_bytes(), prepare=False)
            outcomes.append(Counter(str(one) for batch in order(made) for one in work.handle_batch(connection, batch)))
    assert outcomes[0] == outcomes[1]
    assert set(outcomes[0]) == {"new", "unchanged", "revision", "failed"}


def test_an_item_that_was_named_before_it_came_is_fetched(fresh_postgres_url: str) -> None:
    made = list(pages(COUNT, seed=8))
    with work.connect(fresh_postgres_url) as connection:
        connection.execute(work.TABLES.read_bytes(), prepare=False)
        for batch in in_batches(made):
            work.handle_batch(connection, batch)
        came = connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE state = 'fetched'), count(*) FILTER (WHERE discovered_by <> '') "
            "FROM page JOIN item USING (source, item_key)"
        ).fetchone()
        due = connection.execute("SELECT count(*) FROM item WHERE state = 'due'").fetchone()
    assert came is not None
    assert came[0] == came[1] > came[2] > 0
    assert due is not None
    assert due[0] > COUNT


def test_penstock_stores_what_the_reference_wants(fresh_postgres_url: str) -> None:
    made = list(pages(COUNT, seed=8))
    store = open_store(fresh_postgres_url)
    arrivals = [_arrival(at, payload) for at, payload in enumerate(made)]
    store.commit(arrivals[200:], worker="test", now=1)
    store.commit(arrivals[:200], worker="test", now=2)
    store.close()
    assert differences(expected(made), penstock.rows(fresh_postgres_url)) == []


def _arrival(at: int, payload: Payload) -> Arrival:
    one = work.understood(payload)
    return Arrival(
        epoch="0" * 16,
        entry_id=f"1-{at}",
        attempt=1,
        observed_at=one.observed_at,
        payload=payload,
        payload_hash=one.payload_hash,
        result=one.result,
    )
