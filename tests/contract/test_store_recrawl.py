"""Pages fetched again: when, with what their hosts know them by, and by an operator's order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tasks.steps.page import Arrival, ItemState, Recrawl
from tests.support.arrivals import NOW, SECOND, broken, commit, failure, item, moved, page, retry_of
from tests.support.frontier import (
    claim,
    failed,
    fetch_failure,
    keys,
    names,
    only,
    postponed,
    pushed,
    row_of,
    unchanged,
)
from worker.store import FailureFilter, ItemFilter, SqlStore, recrawl

HOUR = 3600 * SECOND
EVERY = Recrawl(HOUR, 10 * HOUR)
V1 = {"etag": '"v1"', "last_modified": "Mon, 01 Jan 2024 00:00:00 GMT"}


def fetched(text: str, at: int = 0, *, key: str = "1", **other: Any) -> Arrival:
    """Return the arrival of a page that is fetched again every hour at first."""
    return page(key, text, at, **{"recrawl": EVERY, **other})


def wait_of(store: SqlStore, key: str = "1", seen_at: int = 0) -> float:
    """Return after how many hours an item is due again, seen so many seconds after ``NOW``."""
    at = row_of(store, key)["next_fetch_at"]
    assert isinstance(at, int)
    return (at - NOW - seen_at * SECOND) / HOUR


def refetch(store: SqlStore, seconds: int) -> None:
    """Fetch the one item that is due."""
    pushed(store, only(store, now=NOW + seconds * SECOND), now=NOW + seconds * SECOND)


# --- by itself -----------------------------------------------------------------------------------------------------


def test_a_page_is_due_again_when_its_interval_has_passed(store: SqlStore) -> None:
    commit(store, fetched("a"))
    assert row_of(store, "1")["state"] == "fetched"
    assert 0.9 <= wait_of(store) <= 1.1
    assert claim(store, now=NOW + HOUR // 2) == []
    lease = only(store, now=NOW + 2 * HOUR)
    assert (lease.url, lease.host, lease.attempts) == ("http://h/1", "h", 0)
    assert pushed(store, lease, now=NOW + 2 * HOUR) is ItemState.PUSHED


def test_the_interval_follows_the_changes_of_the_page(store: SqlStore) -> None:
    waits: list[float] = []
    for at, text in enumerate(["a", "a", "a", "b", "b"]):
        seen = at * 14_400
        if at:
            refetch(store, seen)
        commit(store, fetched(text, seen))
        waits.append(wait_of(store, seen_at=seen))
    assert waits == pytest.approx([1, 1.5, 2.25, 1.125, 1.6875], rel=0.11)


def test_an_answer_that_nothing_has_changed_counts_as_the_page_itself(store: SqlStore) -> None:
    commit(store, fetched("a", extra=V1))
    failed(store, only(store, now=NOW + HOUR * 3 // 2), fetch_failure(retry_at=NOW), now=NOW + HOUR * 3 // 2)
    lease = only(store, now=NOW + 2 * HOUR)
    assert (lease.etag, lease.last_modified) == (V1["etag"], V1["last_modified"])
    assert unchanged(store, lease, EVERY, now=NOW + 2 * HOUR, etag='"v1b"') is ItemState.FETCHED
    row = row_of(store, "1")
    assert (row["etag"], row["last_modified"], row["last_status"]) == ('"v1b"', V1["last_modified"], 304)
    assert (row["attempts"], row["last_error"], row["lease_token"]) == (0, None, None)
    assert 1.35 <= wait_of(store, seen_at=7200) <= 1.65
    assert store.counts().failures == {"resolved": 1}
    record = store.page_record("s", "1")
    assert record is not None
    assert (record["revision"], record["first_seen"], record["last_seen"]) == (
        1,
        "2023-11-14T22:13:20+00:00",
        "2023-11-15T00:13:20+00:00",
    )
    assert commit(store, page("1", "b", at=3600)) == ["revision"]  # it came late, and was between the two
    assert [(store.page_record("s", "1", revision=n) or {})["paragraphs"] for n in (1, 2, 3)] == [["a"], ["b"], ["a"]]


def test_a_page_that_is_no_more_to_be_fetched_again_is_left_alone(store: SqlStore) -> None:
    commit(store, fetched("a"))
    refetch(store, 7200)
    commit(store, page("1", "a", 7200))
    row = row_of(store, "1")
    assert (row["state"], row["next_fetch_at"], row["recrawl_us"]) == ("fetched", None, None)
    commit(store, fetched("a", 7300))
    lease = only(store, now=NOW + 9 * HOUR)
    unchanged(store, lease, None, now=NOW + 9 * HOUR)
    assert row_of(store, "1")["next_fetch_at"] is None


def test_what_came_late_changes_neither_interval_nor_validators_and_the_page_is_still_fetched_again(
    store: SqlStore,
) -> None:
    commit(store, fetched("a", 7200, extra=V1))
    commit(store, fetched("older", 0, extra={"etag": "old"}))
    row = row_of(store, "1")
    assert (row["recrawl_us"], row["etag"]) == (HOUR, None)
    assert 0.9 <= wait_of(store, seen_at=7200) <= 1.1
    lease = only(store, now=NOW + 4 * HOUR)
    commit(store, page("1", "oldest", -5, recrawl=EVERY))  # while it is being fetched
    assert pushed(store, lease) is None
    assert only(store, now=NOW + 4 * HOUR).item_key == "1"


def test_of_several_in_a_batch_the_last_one_counts(store: SqlStore) -> None:
    commit(store, fetched("b", 20, extra={"etag": "b"}), fetched("c", 30, extra={"etag": "c"}), fetched("a", 10))
    row = row_of(store, "1")
    assert (row["etag"], row["recrawl_us"]) == ("c", HOUR)
    assert 0.9 <= wait_of(store, seen_at=30) <= 1.1


def test_an_item_that_is_fetched_again_by_itself_is_not_given_up(store: SqlStore) -> None:
    commit(store, fetched("a"))
    now = NOW + 2 * HOUR
    assert failed(store, only(store, now=now), fetch_failure(status=500), now=now) is ItemState.SCHEDULED
    assert 0.9 <= wait_of(store, seen_at=7200) <= 1.1
    assert row_of(store, "1")["attempts"] == 0
    assert [(row["state"], row["attempts"]) for row in store.failures()] == [("dead", 1)]
    refetch(store, 4 * 3600)
    commit(store, broken("1", at=4 * 3600), now=NOW + 4 * HOUR)
    row = row_of(store, "1")
    assert (row["state"], row["next_fetch_at"]) == ("scheduled", NOW + 5 * HOUR)
    refetch(store, 6 * 3600)
    commit(store, fetched("a", 6 * 3600))
    assert store.counts().failures == {"resolved": 2}
    assert store.counts().items == {"fetched": 1}


# --- validators ----------------------------------------------------------------------------------------------------


def test_a_page_that_cannot_be_read_and_is_no_more_to_be_fetched_again_is_given_up(store: SqlStore) -> None:
    commit(store, fetched("a"))
    refetch(store, 2 * 3600)
    result = replace(failure("1"), recrawls=False)
    commit(store, moved(broken("1", at=2 * 3600), result=result), now=NOW + 2 * HOUR)
    row = row_of(store, "1")
    assert (row["state"], row["next_fetch_at"]) == ("failed", None)


def test_validators_are_known_when_the_page_is_stored_and_not_before(store: SqlStore) -> None:
    names(store, item("1"))
    pushed(store, only(store))
    assert row_of(store, "1")["etag"] is None
    commit(store, page("1", "a", 1, extra={**V1, "other": "x"}))
    row = row_of(store, "1")
    assert (row["etag"], row["last_modified"], row["next_fetch_at"]) == (*V1.values(), None)


@pytest.mark.parametrize("extra", [{}, {"etag": ""}, {"last_modified": "later"}])
def test_validators_go_when_the_page_comes_without_them(store: SqlStore, extra: dict[str, str]) -> None:
    commit(store, page("1", "a", extra=V1))
    commit(store, page("1", "b", 1, extra=extra))
    row = row_of(store, "1")
    assert (row["etag"], row["last_modified"]) == (None, extra.get("last_modified"))


def test_validators_are_not_lost_by_being_named_or_fetched_in_vain(store: SqlStore) -> None:
    commit(store, fetched("a", extra=V1))
    names(store, item("1", depth=0), by="q", at=1)
    lease = only(store, now=NOW + 2 * HOUR)
    postponed(store, lease, until=NOW + 2 * HOUR)
    failed(store, only(store, now=NOW + 2 * HOUR), fetch_failure(retry_at=NOW), now=NOW)
    assert only(store, now=NOW + 3 * HOUR).etag == V1["etag"]


def test_they_belong_to_the_url_that_was_fetched_whatever_the_page_declares(store: SqlStore) -> None:
    url, declared = "http://h/a?page=1", "http://h/a"
    commit(store, fetched("a", key=url, item=None, url=url, declared=declared, extra=V1))
    assert row_of(store, declared)["next_fetch_at"] is None
    lease = only(store, now=NOW + 2 * HOUR)
    assert (lease.item_key, lease.url, lease.etag) == (url, url, V1["etag"])
    assert unchanged(store, lease, EVERY, now=NOW + 2 * HOUR) is ItemState.FETCHED
    assert (store.page_record("s", declared) or {})["last_seen"] == "2023-11-15T00:13:20+00:00"


# --- gone ----------------------------------------------------------------------------------------------------------


def gone(store: SqlStore, seconds: int) -> None:
    now = NOW + seconds * SECOND
    lease = only(store, now=now)
    assert failed(store, lease, fetch_failure("Gone", status=410), now=now) is ItemState.GONE


def test_a_page_that_is_gone_is_marked_and_stays(store: SqlStore) -> None:
    commit(store, fetched("a"))
    gone(store, 7200)
    record = store.page_record("s", "1")
    assert record is not None
    assert (list(record)[-1], record["gone_at"]) == ("gone_at", "2023-11-15T00:13:20+00:00")
    assert list(store.export()) == [record]
    assert claim(store, now=NOW + 9999 * HOUR) == []
    assert store.counts().items == {"gone": 1}
    (told,) = store.trace("s/1")
    assert (told["now"]["item"]["gone_at"], told["now"]["item"]["state"]) == (record["gone_at"], "gone")
    commit(store, fetched("a", 9000))
    assert (store.page_record("s", "1") or {})["gone_at"] is None
    assert store.counts().failures == {"resolved": 1}


def test_an_item_that_never_was_a_page_is_gone_too(store: SqlStore) -> None:
    names(store, item("1"))
    gone(store, 0)
    assert store.counts().items == {"fetched": 1, "gone": 1}
    assert store.counts().failures == {"dead": 1}


def test_a_page_under_a_declared_url_is_gone_with_the_url_that_it_came_from(store: SqlStore) -> None:
    url, declared = "http://h/a?page=1", "http://h/a"
    commit(store, fetched("a", key=url, item=None, url=url, declared=declared))
    gone(store, 7200)
    assert (store.page_record("s", declared) or {})["gone_at"] == "2023-11-15T00:13:20+00:00"
    commit(store, fetched("a", 9000, key=url, item=None, url=url, declared=declared))
    assert (store.page_record("s", declared) or {})["gone_at"] is None


# --- by an order ---------------------------------------------------------------------------------------------------


def anywhere(_: str) -> bool:
    return True


def order(store: SqlStore, may_fetch: Callable[[str], bool] = anywhere, **how: Any) -> tuple[int, int]:
    filters = {name: how.pop(name) for name in ("older_than", "item_keys", "gone") if name in how}
    return store.recrawl(ItemFilter(source="s", **filters), may_fetch=may_fetch, **{"now": NOW, **how})


def test_all_stored_pages_of_a_source_are_due_by_an_order(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recrawl, "PORTION", 2)
    commit(store, *(page(str(n), f"{n}", extra=V1) for n in range(5)), page("9", "t", source="t"))
    assert order(store, dry_run=True) == (5, 0)
    assert claim(store) == []
    assert order(store, limit=3, note="new layout", who="ada") == (3, 0)
    found = claim(store)
    assert keys(found) == ["0", "1", "2"]
    assert {lease.etag for lease in found} == {V1["etag"]}
    assert order(store) == (2, 0)
    with store._driver.transaction(write=False) as tx:
        acts = tx.run("SELECT action, filter, count, note, who FROM operator_action ORDER BY id")
    assert acts == [("recrawl", '{"source":"s"}', 3, "new layout", "ada"), ("recrawl", '{"source":"s"}', 2, "", "")]


def test_only_pages_that_were_not_looked_at_since_are_ordered(store: SqlStore) -> None:
    commit(store, page("old", "a"), page("pushed again", "b"), page("pushed again", "b", 100), page("checked", "c"))
    order(store, item_keys=("checked",))
    unchanged(store, only(store), now=NOW + 100 * SECOND)
    assert order(store, older_than=NOW + 50 * SECOND, now=NOW + HOUR) == (1, 0)
    assert keys(claim(store, now=NOW + HOUR)) == ["old"]
    assert order(store, older_than=NOW + 101 * SECOND, now=NOW + HOUR) == (2, 0)


def test_single_items_are_ordered_by_id_or_url(store: SqlStore) -> None:
    commit(store, page("1", "a"), page("http://h/x", "b", item=None, url="http://h/x"))
    assert store.item_keys("s", "1") == store.item_keys("s", "http://h/1") == ["1"]
    assert store.item_keys("s", "HTTP://H/x#top") == ["http://h/x"]
    assert store.item_keys("t", "1") == store.item_keys("s", "2") == []
    assert order(store, item_keys=("1",)) == (1, 0)
    assert order(store, item_keys=()) == (0, 0)


def test_what_leads_elsewhere_or_may_not_be_fetched_is_left(store: SqlStore) -> None:
    url, declared = "http://h/a?page=1", "http://h/a"
    commit(store, page(url, "a", item=None, url=url, declared=declared))
    commit(store, page("1", "b"), page("2", "c", url=None), page("3", "d", url="http://elsewhere/3"))
    assert order(store, lambda one: "elsewhere" not in one) == (2, 3)
    assert keys(claim(store)) == ["1", url]


def test_gone_items_are_only_ordered_when_asked_for_and_failed_ones_never(store: SqlStore) -> None:
    names(store, item("1"), item("2"), item("3"))
    for lease in claim(store):
        failed(store, lease, fetch_failure("Gone" if lease.item_key == "1" else "HttpError"))
    assert order(store) == (1, 0)
    assert order(store, gone=True) == (1, 0)
    assert sorted(keys(claim(store))) == ["1", "p"]


def test_a_page_that_was_ordered_and_is_the_same_goes_on_as_before(store: SqlStore) -> None:
    commit(store, fetched("a"))
    order(store)
    refetch(store, 1)
    commit(store, fetched("a", 1))
    assert 1.35 <= wait_of(store, seen_at=1) <= 1.65
    assert claim(store) == []


# --- beside the rest -----------------------------------------------------------------------------------------------


def test_a_retry_from_stored_bytes_brings_it_in_too(store: SqlStore) -> None:
    commit(store, broken("1", retry_at=NOW, extra=V1))
    commit_of = retry_of(store, now=NOW, result=fetched("a").result)
    assert store.commit_retry(commit_of, worker="w", now=NOW) == "new"
    row = row_of(store, "1")
    assert (row["etag"], row["recrawl_us"]) == (V1["etag"], HOUR)


def test_a_refetch_for_a_broken_page_is_due_and_a_replayed_one_too(store: SqlStore) -> None:
    commit(store, fetched("a"))
    refetch(store, 7200)
    commit(store, broken("1", at=7200, retry_at=NOW + 2 * HOUR), now=NOW + 2 * HOUR)
    again = retry_of(store, now=NOW + 2 * HOUR, result=failure("1", retry_at=NOW + 9 * HOUR), refetch_at=NOW + 2 * HOUR)
    store.commit_retry(again, worker="w", now=NOW + 2 * HOUR)
    assert failed(store, only(store, now=NOW + 2 * HOUR), fetch_failure(), now=NOW + 2 * HOUR) is ItemState.SCHEDULED
    assert store.replay(FailureFilter(error_class="HttpError"), now=NOW + 2 * HOUR) == 1
    assert only(store, now=NOW + 2 * HOUR).item_key == "1"
