"""Start URLs in the frontier: due when a profile names them, and again when they were given up."""

from __future__ import annotations

from dataclasses import replace

from tasks.fetch_ports import Planted
from tasks.steps.lists import LIST_PRIORITY
from tasks.steps.page import ItemState, Recrawl
from tests.support.arrivals import NOW, SECOND, commit, item, page
from tests.support.frontier import claim, failed, fetch_failure, keys, names, only, pushed, row_of
from worker.store import SqlStore

HOUR = 3600 * SECOND
FEED = Planted("s", "http://h/feed", "http://h/feed", "h", HOUR)


def plant(store: SqlStore, *starts: Planted, at: int = 0) -> int:
    return store.plant(starts or (FEED,), now=NOW + at)


def test_a_start_url_is_due_once_and_before_all_else(store: SqlStore) -> None:
    names(store, item("1", host="h"), at=-60)
    assert plant(store) == 1
    assert plant(store) == 0
    assert keys(claim(store, 1)) == [FEED.item_key]
    row = row_of(store, FEED.item_key)
    assert (row["url"], row["host"], row["depth"], row["recrawl_us"]) == (FEED.url, "h", 0, HOUR)
    assert plant(store) == 0  # while it is leased


def test_what_a_page_named_before_becomes_a_start_url_of_its_own_interval(store: SqlStore) -> None:
    names(store, replace(item(FEED.item_key), state=ItemState.BOUNDED, bound="depth"))
    assert plant(store) == 1
    assert only(store).url == FEED.url


def test_one_that_waits_for_longer_than_it_should_is_due(store: SqlStore) -> None:
    commit(store, page(FEED.item_key, "a list"))  # fetched, and not to be fetched again
    assert plant(store) == 1
    lease = only(store)
    pushed(store, lease)
    assert plant(store, at=5 * HOUR) == 0  # its payload is in the stream


def test_one_that_was_given_up_is_tried_again_after_its_interval(store: SqlStore) -> None:
    plant(store)
    failed(store, only(store), fetch_failure("Gone", status=404))
    assert row_of(store, FEED.item_key)["state"] == "gone"
    assert plant(store, at=HOUR - SECOND) == 0
    assert plant(store, at=HOUR) == 1
    assert only(store, now=NOW + HOUR).attempts == 0


def test_one_that_fails_is_tried_again_by_itself(store: SqlStore) -> None:
    plant(store)
    failed(store, only(store), fetch_failure(status=500))
    row = row_of(store, FEED.item_key)
    assert row["state"] == "scheduled"
    assert abs(row["next_fetch_at"] - NOW - HOUR) <= HOUR // 10
    assert plant(store, at=SECOND) == 0


def test_one_in_back_off_is_left_to_it(store: SqlStore) -> None:
    plant(store)
    retry_at = NOW + 5 * HOUR  # longer than its interval
    failed(store, only(store), fetch_failure(retry_at=retry_at))
    often = Planted(FEED.source, FEED.item_key, FEED.url, FEED.host, 60 * SECOND)
    assert plant(store, often, at=SECOND) == 0
    row = row_of(store, FEED.item_key)
    assert (row["state"], row["next_fetch_at"], row["attempts"]) == ("scheduled", retry_at, 1)


def test_one_that_is_none_any_more_is_given_up_when_it_fails(store: SqlStore) -> None:
    plant(store)
    failed(store, only(store), fetch_failure(status=500), recrawls=False)
    assert row_of(store, FEED.item_key)["state"] == "failed"


def test_what_is_read_as_a_list_is_looked_at_before_pages_from_then_on(store: SqlStore) -> None:
    commit(store, page("map", "a list", recrawl=Recrawl(HOUR, HOUR, is_list=True)))
    commit(store, page("1", "a page", recrawl=Recrawl(HOUR, HOUR)))
    assert [one.priority for one in claim(store, now=NOW + 2 * HOUR)] == [LIST_PRIORITY, 0]
    commit(store, page("map", "no list", at=3 * 3600, recrawl=Recrawl(HOUR, HOUR)))
    assert {one.item_key: one.priority for one in claim(store, now=NOW + 5 * HOUR)} == {"map": 0, "1": 0}


def test_a_shorter_interval_is_not_waited_for_by_the_longer_one(store: SqlStore) -> None:
    plant(store)
    failed(store, only(store), fetch_failure(status=500))
    often = Planted(FEED.source, FEED.item_key, FEED.url, FEED.host, 600 * SECOND)
    assert plant(store, often, at=SECOND) == 1
    assert row_of(store, FEED.item_key)["recrawl_us"] == 600 * SECOND
