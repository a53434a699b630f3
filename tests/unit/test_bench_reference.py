"""The benchmarks' check of rows: it does not mind the order, and finds what is wrong."""

from __future__ import annotations

import dataclasses
import random
import sqlite3
from collections.abc import Iterator

import pytest
import zstandard

from benchmarks.pages import pages
from benchmarks.reference import Rows, differences, expected, read_rows
from tasks.steps.fingerprint import payload_hash
from tasks.steps.page import Payload

QUERIES = {
    "current": "SELECT item_key, content_hash FROM page",
    "revisions": "SELECT item_key, content_hash FROM revision",
    "failures": "SELECT payload_hash, error_class FROM failure",
}


@pytest.fixture(scope="module")
def made() -> list[Payload]:
    return list(pages(600, seed=5))


@pytest.fixture
def database(made: list[Payload]) -> Iterator[sqlite3.Connection]:
    """A store that has exactly what it must."""
    wanted = expected(made)
    compress = zstandard.ZstdCompressor().compress
    connection = sqlite3.connect(":memory:")
    for name, columns in {
        "page": "item_key, content_hash",
        "revision": "item_key, content_hash",
        "payload": "payload_hash, bytes",
        "item": "item_key",
        "failure": "payload_hash, error_class",
        "delivery": "id",
    }.items():
        connection.execute(f"CREATE TABLE {name} ({columns})")
    connection.executemany("INSERT INTO page VALUES (?, ?)", wanted.current)
    connection.executemany("INSERT INTO revision VALUES (?, ?)", wanted.revisions)
    bodies = {payload_hash(one.body): compress(one.body) for one in made}
    connection.executemany("INSERT INTO payload VALUES (?, ?)", bodies.items())
    connection.executemany("INSERT INTO item VALUES (?)", [(key,) for key in wanted.items])
    connection.executemany("INSERT INTO failure VALUES (?, ?)", wanted.failures)
    connection.executemany("INSERT INTO delivery VALUES (?)", [(at,) for at in range(len(made))])
    yield connection
    connection.close()


def rows(database: sqlite3.Connection) -> Rows:
    return read_rows(database.execute, **QUERIES)


def test_the_reference_is_the_same_in_whatever_order(made: list[Payload]) -> None:
    shuffled = made[:]
    random.Random(1).shuffle(shuffled)
    assert differences(expected(made), expected(shuffled)) == []


def test_the_reference_has_each_kind_of_fact(made: list[Payload]) -> None:
    wanted = expected(made)
    assert wanted.handled == len(made)
    assert len(wanted.payloads) == len({one.body for one in made}) < len(made)
    assert len(wanted.revisions) > len(wanted.current) > 0
    assert wanted.current < wanted.revisions
    assert {error for _, error in wanted.failures} == {"Truncated"}
    assert {key for key, _ in wanted.current} < wanted.items


def test_the_page_is_as_it_was_seen_last(made: list[Payload]) -> None:
    first, *others = [one for one in made if one.item == _revised(made)]
    early, late = expected([first]), expected([first, *others])
    assert early.current != late.current
    assert early.revisions < late.revisions
    assert late.current == expected([*reversed(others), first]).current


def test_right_rows_have_no_differences(made: list[Payload], database: sqlite3.Connection) -> None:
    assert differences(expected(made), rows(database)) == []


@pytest.mark.parametrize(
    "statement, kind",
    [
        ("DELETE FROM page WHERE rowid = 1", "current"),
        ("UPDATE page SET content_hash = '00' WHERE rowid = 1", "current"),
        ("INSERT INTO revision VALUES ('1', '00')", "revisions"),
        ("DELETE FROM revision WHERE rowid = 1", "revisions"),
        ("DELETE FROM payload WHERE rowid = 1", "payloads"),
        ("UPDATE payload SET bytes = (SELECT bytes FROM payload WHERE rowid = 2) WHERE rowid = 1", "payloads"),
        ("DELETE FROM item WHERE rowid = 1", "items"),
        ("INSERT INTO item VALUES ('no such item')", "items"),
        ("UPDATE failure SET error_class = 'Malformed' WHERE rowid = 1", "failures"),
        ("DELETE FROM failure", "failures"),
        ("DELETE FROM delivery WHERE rowid = 1", "handled"),
        ("INSERT INTO delivery VALUES (0)", "handled"),
    ],
)
def test_each_wrong_row_is_found(made: list[Payload], database: sqlite3.Connection, statement: str, kind: str) -> None:
    database.execute(statement)
    told = differences(expected(made), rows(database))
    assert [one.partition(":")[0] for one in told] == [kind]


def test_a_difference_says_how_much_is_missing_and_how_much_too_many(made: list[Payload]) -> None:
    wanted = expected(made)
    found = dataclasses.replace(wanted, items=(wanted.items - {min(wanted.items)}) | {"zz", "zy"})
    assert differences(wanted, found) == [f"items: 1 missing ({min(wanted.items)} …), 2 too many (zy, zz …)"]


def _revised(made: list[Payload]) -> str | None:
    texts: dict[str | None, set[tuple[str, str]]] = {}
    for one in made:
        known = texts.setdefault(one.item, set())
        known |= expected([one]).revisions
        if len(known) > 1:
            return one.item
    pytest.fail("the workload has no revision")
