from __future__ import annotations

from tasks.ports import Drift
from tasks.steps.drift import BUCKET_US, LEAST_RECENT, RECENT, Tally
from tests.support.arrivals import NOW
from worker.store import SqlStore

SPAN = NOW // BUCKET_US
DAY = 8 * BUCKET_US


def add(store: SqlStore, span: int, filled: int, *, of: int = 100, source: str = "s", size: int = 40) -> None:
    store.add_fields({source: {"title": Tally(of, filled, filled * size)}}, span=SPAN + span)


def watched(store: SqlStore, *, now: int) -> list[Drift]:
    return list(store.watch_fields(now=now))


def baseline(store: SqlStore, source: str = "s") -> None:
    for span in range(-40, -10):
        add(store, span, 95, source=source)


def test_a_break_is_told_once_is_shown_and_told_again_when_it_is_over(store: SqlStore) -> None:
    baseline(store)
    add(store, 0, 94)
    assert watched(store, now=NOW) == []
    add(store, 1, 10)
    later = NOW + BUCKET_US
    assert watched(store, now=later) == [Drift("s", "title", "fill", 0.95, 0.1, over=False)]
    add(store, 1, 0)
    assert watched(store, now=later + 1) == []
    (shown,) = store.field_drifts()
    assert (shown["source"], shown["field"], shown["kind"]) == ("s", "title", "fill")
    assert (shown["before"], shown["after"]) == (0.95, 0.05)
    assert shown["since"].startswith("2023-11-15T01")
    add(store, 2, 98)
    assert watched(store, now=later + BUCKET_US) == [Drift("s", "title", "fill", 0.95, 0.98, over=True)]
    assert store.field_drifts() == []


def test_a_break_is_held_against_what_was_before_it_however_long_it_lasts(store: SqlStore) -> None:
    baseline(store)
    for span in range(80):
        add(store, span, 0)
        assert len(watched(store, now=NOW + span * BUCKET_US)) == (span == 0)
    assert [one["before"] for one in store.field_drifts()] == [0.95]


def test_after_two_weeks_a_break_is_how_the_source_is(store: SqlStore) -> None:
    baseline(store)
    for day in range(1, 17):
        add(store, 8 * day, 0)
        told = watched(store, now=NOW + day * DAY)
        assert [one.over for one in told] == {1: [False], 15: [True]}.get(day, [])
    assert store.field_drifts() == []


def test_a_few_pages_neither_begin_nor_end_a_break(store: SqlStore) -> None:
    baseline(store)
    add(store, 0, 0, of=LEAST_RECENT - 1)
    assert watched(store, now=NOW) == []
    add(store, 0, 0, of=1)
    assert [one.over for one in watched(store, now=NOW)] == [False]
    quiet = NOW + RECENT * BUCKET_US  # nothing came for a day
    add(store, RECENT, 1, of=1)
    assert watched(store, now=quiet) == []
    assert len(store.field_drifts()) == 1


def test_sizes_break_too_and_sources_apart(store: SqlStore) -> None:
    for source in ("one", "two"):
        baseline(store, source)
        add(store, 0, 95, source=source, size=10 if source == "two" else 40)
    assert watched(store, now=NOW) == [Drift("two", "title", "size", 40.0, 10.0, over=False)]


def test_what_is_found_of_a_source_is_told_before_the_next_one_is_looked_at(store: SqlStore) -> None:
    for source in ("one", "two"):
        baseline(store, source)
        add(store, 0, 0, source=source)
    found = store.watch_fields(now=NOW)
    assert next(found).source == "one"
    assert [one["source"] for one in store.field_drifts()] == ["one"]  # of the other nothing is committed yet
    assert [one.source for one in found] == ["two"]


def test_counts_add_up_and_old_ones_are_forgotten(store: SqlStore) -> None:
    add(store, 0, 1, of=2)
    add(store, 0, 2, of=3)
    add(store, -300, 1)
    watched(store, now=NOW)
    with store._driver.transaction(write=False) as tx:
        assert tx.run("SELECT pages, filled, size FROM field_count") == [(5, 3, 120)]
