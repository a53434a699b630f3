from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from tasks.ports import FetchFailure, ItemLease
from tasks.steps.page import ItemState
from tests.support.arrivals import NOW, SECOND, broken, commit, item, page
from worker.store import FailureFilter, SqlStore
from worker.store.driver import Driver, Transaction

LATER = NOW + 100 * SECOND


def claim(store: SqlStore, **changes: Any) -> list[ItemLease]:
    wanted: dict[str, Any] = {
        "limit": 100,
        "per_host": {"s": 10},
        "budgets": {"s": 1000},
        "run": "r1",
        "lease_us": 10 * SECOND,
        "now": NOW,
    }
    return store.claim_items(**(wanted | changes))


def keys(leases: list[ItemLease]) -> list[str]:
    return [lease.item_key for lease in leases]


def fetch_failure(error_class: str = "HttpError", *, retry_at: int | None = None, counts: bool = True) -> FetchFailure:
    return FetchFailure(
        error_class=error_class, message="no", fingerprint="ff", status=503, retry_at=retry_at, counts=counts
    )


def names(store: SqlStore, *items: Any, by: str = "p", at: int = 0) -> None:
    commit(store, page(by, f"text of {by} at {at}", at=at, discovered=items))


def row_of(store: SqlStore, key: str) -> dict[str, Any]:
    columns = "state, depth, discovered_by, url, host, attempts, next_fetch_at, lease_token"
    with store._driver.transaction(write=False) as tx:
        (row,) = tx.run(f"SELECT {columns} FROM item WHERE item_key = ?", key)  # noqa: S608 (constants)
    return dict(zip(columns.split(", "), row, strict=True))


def test_items_are_stored_once_however_many_pages_name_them(store: SqlStore) -> None:
    names(store, item("1"), item("2"), item("1"), by="p")
    names(store, item("2"), item("3"), by="q", at=1)
    assert store.counts().items == {"due": 3, "fetched": 2}
    assert sorted(keys(claim(store))) == ["1", "2", "3"]
    assert claim(store) == []


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_an_item_belongs_to_the_nearest_page_that_names_it(store: SqlStore, order: tuple[int, ...]) -> None:
    pages = [
        page("p", "p", at=5, discovered=[item("1", depth=2)]),
        page("q", "q", at=9, discovered=[item("1", depth=1)]),
        page("r", "r", at=7, discovered=[item("1", depth=1)]),
    ]
    for at in order:
        commit(store, pages[at])
    assert (row_of(store, "1")["depth"], row_of(store, "1")["discovered_by"]) == (1, "r")


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("due_first", [False, True])
def test_an_item_within_bounds_for_one_page_is_due(store: SqlStore, at_once: bool, due_first: bool) -> None:
    pages = [
        page("p", "p", discovered=[item("1", ItemState.UNROUTABLE), item("2", ItemState.BOUNDED)]),
        page("q", "q", at=1, discovered=[item("1"), item("2")]),
    ]
    pages = pages[::-1] if due_first else pages
    if at_once:
        commit(store, *pages)
    else:
        for one in pages:
            commit(store, one)
    assert store.counts().items == {"due": 2, "fetched": 2}
    assert row_of(store, "1")["url"] == "http://h/1"
    assert keys(claim(store)) == ["1", "2"]


def test_the_pages_own_item_is_fetched_whenever_it_was_named(store: SqlStore) -> None:
    names(store, item("1"), by="p")
    commit(store, page("1", "a", at=1, depth=1, parent="p"))
    commit(store, page("2", "b"))
    names(store, item("2"), by="q", at=2)
    assert store.counts().items == {"fetched": 4}
    assert claim(store) == []


def test_a_page_without_id_and_url_has_no_item(store: SqlStore) -> None:
    commit(store, page("01a", "a", item=None, url=None))
    assert store.counts().items == {}


def test_a_broken_payload_fails_its_item_but_not_one_whose_page_is_here(store: SqlStore) -> None:
    names(store, item("1"), item("2"))
    commit(store, broken("1", at=3), broken("p", b"x", at=3), broken("unknown", b"y"))
    assert store.counts().items == {"due": 1, "failed": 1, "fetched": 1}
    commit(store, page("1", "a", at=4))
    assert store.counts().items == {"due": 1, "fetched": 2}


def test_claims_are_fair_across_hosts_and_bounded_per_host(store: SqlStore) -> None:
    names(store, *(item(f"a{n}", host="a") for n in range(9)), *(item(f"b{n}", host="b") for n in range(9)))
    assert [lease.host for lease in claim(store, per_host={"s": 2})] == ["a", "b", "a", "b"]
    assert claim(store, per_host={"s": 2}) == []
    assert [lease.host for lease in claim(store, per_host={"s": 3})] == ["a", "b"]
    assert [lease.host for lease in claim(store, per_host={"s": 9}, limit=3)] == ["a", "b", "a"]


def test_each_host_has_its_own_free_slots(store: SqlStore) -> None:
    names(store, *(item(f"a{n}", host="a") for n in range(3)))
    claim(store, per_host={"s": 1})
    names(store, *(item(f"b{n}", host="b") for n in range(3)), by="q")
    assert [lease.host for lease in claim(store, per_host={"s": 2})] == ["a", "b", "b"]


def test_without_a_profile_one_request_per_host_is_claimed(store: SqlStore) -> None:
    names(store, item("1"), item("2"))
    assert len(claim(store, per_host={}, budgets={})) == 1


def test_items_near_the_start_come_first(store: SqlStore) -> None:
    names(store, item("far", depth=3), item("near", depth=1), item("middle", depth=2))
    assert keys(claim(store)) == ["near", "middle", "far"]


def test_claims_stay_within_the_budget_of_the_run(store: SqlStore) -> None:
    names(store, *(item(str(n)) for n in range(9)))
    first = claim(store, budgets={"s": 3})
    assert len(first) == 3
    assert claim(store, budgets={"s": 3}) == []
    assert store.due_counts(now=NOW, run="r1", budgets={"s": 3}).due_items == 0
    assert store.due_counts(now=NOW, run="r1", budgets={"s": 4}).due_items == 1
    assert store.item_postponed(first[0], until=NOW)
    assert len(claim(store, budgets={"s": 3})) == 1
    assert len(claim(store, budgets={"s": 3}, run="r2")) == 3


def test_a_lease_that_ran_out_is_claimed_again(store: SqlStore) -> None:
    names(store, item("1"))
    (lost,) = claim(store)
    assert claim(store, now=NOW + 9 * SECOND) == []
    (taken,) = claim(store, now=NOW + 10 * SECOND)
    assert taken.token != lost.token
    assert not store.item_pushed(lost, entry="1-1", now=NOW)
    assert not store.item_postponed(lost, until=NOW)
    assert store.item_failed(lost, fetch_failure(), worker="w", now=NOW) is None
    assert store.item_pushed(taken, entry="1-1", now=NOW)
    assert store.failures() == []


def test_a_pushed_item_is_fetched_when_its_page_arrives_even_before_it_is_noted(store: SqlStore) -> None:
    names(store, item("1"), item("2"))
    one, two = claim(store)
    assert store.item_pushed(one, entry="1-1", now=NOW)
    assert store.counts().items["pushed"] == 1
    commit(store, page("1", "a", at=1), page("2", "b", at=1))
    assert not store.item_pushed(two, entry="1-2", now=NOW)
    assert store.counts().items == {"fetched": 3}


def test_a_failed_fetch_waits_or_is_given_up(store: SqlStore) -> None:
    names(store, item("1"))
    (lease,) = claim(store)
    assert store.item_failed(lease, fetch_failure(retry_at=LATER), worker="w", now=NOW) is ItemState.DUE
    (row,) = store.failures()
    assert (row["kind"], row["state"], row["attempts"], row["item"]) == ("fetch", "waiting", 1, "1")
    assert claim(store) == []
    (lease,) = claim(store, now=LATER)
    assert lease.attempts == 1
    assert (
        store.item_failed(lease, fetch_failure("HostDown", retry_at=LATER, counts=False), worker="w", now=LATER)
        is ItemState.DUE
    )
    (lease,) = claim(store, now=LATER)
    assert lease.attempts == 1
    assert store.item_failed(lease, fetch_failure("HttpError"), worker="w", now=LATER) is ItemState.FAILED
    (row,) = store.failures()
    assert (row["state"], row["attempts"], row["next_attempt_at"]) == ("dead", 2, None)
    assert store.claim_failures(limit=9, lease_us=1, now=2 * LATER, parser_versions={"none": 9}) == []


def test_a_page_that_is_gone_is_marked_and_kept(store: SqlStore) -> None:
    names(store, item("1"))
    (lease,) = claim(store)
    assert store.item_failed(lease, fetch_failure("Gone"), worker="w", now=NOW) is ItemState.GONE
    assert store.counts().items == {"fetched": 1, "gone": 1}
    assert store.counts().failures == {"dead": 1}


def test_the_arrival_of_a_page_resolves_the_failures_of_its_fetch(store: SqlStore) -> None:
    names(store, item("1"))
    (lease,) = claim(store)
    store.item_failed(lease, fetch_failure(retry_at=LATER), worker="w", now=NOW)
    commit(store, page("1", "a", at=200))
    assert store.counts().failures == {"resolved": 1}


def test_replay_of_a_failed_fetch_makes_the_item_due(store: SqlStore) -> None:
    names(store, item("1"))
    (lease,) = claim(store)
    store.item_failed(lease, fetch_failure(), worker="w", now=NOW)
    assert store.replay(FailureFilter(error_class="HttpError"), now=LATER) == 1
    (lease,) = claim(store, now=LATER)
    assert (lease.item_key, lease.attempts) == ("1", 0)


def test_upkeep_frees_leases_and_refetches_what_was_in_a_lost_stream(store: SqlStore) -> None:
    names(store, item("1"), item("2"))
    one, _ = claim(store)
    store.item_pushed(one, entry="1-1", now=NOW)
    first = store.note_accepted(epoch="e1", accepted=1, first_waiting=None, now=NOW)
    assert first.items_due_again == 0
    assert store.upkeep(now=LATER)["items_freed"] == 1
    assert store.note_accepted(epoch="e2", accepted=0, first_waiting=None, now=LATER).items_due_again == 1
    assert store.counts().items == {"due": 2, "fetched": 1}
    again = claim(store, now=LATER)[0]
    store.item_pushed(again, entry="2-1", now=LATER)
    much_later = LATER + 20 * 60 * SECOND
    assert store.note_accepted(epoch="e2", accepted=7, first_waiting="1-1", now=LATER).items_due_again == 0
    overtaken = store.note_accepted(epoch="e2", accepted=6, first_waiting="1-1", now=LATER)
    assert (overtaken.accepted, overtaken.items_due_again) == (7, 0)
    assert store.note_accepted(epoch="e2", accepted=1, first_waiting="1-1", now=much_later).items_due_again == 0
    assert store.note_accepted(epoch="e2", accepted=1, first_waiting=None, now=much_later).items_due_again == 1
    assert store.note_accepted(epoch="e2", accepted=0, first_waiting=None, now=LATER).items_due_again == 0


def test_what_there_is_to_do_is_counted(store: SqlStore) -> None:
    names(store, *(item(str(n)) for n in range(5)))
    leases = claim(store, limit=3)
    store.item_pushed(leases[0], entry="1-1", now=NOW)
    store.item_postponed(leases[1], until=LATER)
    commit(store, broken("x", retry_at=NOW), broken("y", b"y", retry_at=LATER), broken("z", b"z"))
    store.claim_failures(limit=1, lease_us=SECOND, now=NOW, parser_versions={})
    due = store.due_counts(now=NOW, run="r1", budgets={}, parser_versions={"vardump": 2})
    assert (due.due_items, due.leased_items, due.waiting_items, due.pushed_items, due.items) == (2, 1, 1, 1, 3)
    assert (due.leased_failures, due.waiting_failures, due.due_failures) == (1, 1, 2)
    assert store.due_counts(now=NOW, run="r1", budgets={}).due_failures == 0
    assert store.due_counts(now=LATER, run="r1", budgets={}).failures == 2


def test_what_is_known_of_items_ends_with_the_connection(store: SqlStore) -> None:
    """A standby that takes over may lack the last commits; what this process remembers of them must not count there."""
    names(store, item("1"))
    with store._driver.transaction() as tx:
        tx.run("DELETE FROM item WHERE item_key = '1'")
    names(store, item("1"), by="q", at=1)
    assert store.counts().items == {"fetched": 2}
    store.close()
    names(store, item("1"), by="r", at=2)
    assert row_of(store, "1")["discovered_by"] == "r"


def test_a_known_item_is_still_moved_nearer_to_the_start_and_told_more_of(store: SqlStore) -> None:
    names(store, item("1", ItemState.BOUNDED, depth=2), by="p", at=5)
    names(store, item("1", ItemState.BOUNDED, depth=2), by="q", at=6)
    names(store, item("1", ItemState.BOUNDED, depth=2), by="r", at=4)
    assert (row_of(store, "1")["state"], row_of(store, "1")["discovered_by"]) == ("bounded", "r")
    names(store, item("1", depth=2), by="s", at=7)
    assert (row_of(store, "1")["state"], row_of(store, "1")["discovered_by"]) == ("due", "r")
    names(store, item("1", depth=1), by="t", at=8)
    assert row_of(store, "1")["discovered_by"] == "t"


class UndoneError(Exception):
    pass


class UndoingDriver:
    """A driver whose armed transactions fail when their work is done."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.armed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[Transaction]:
        with self._driver.transaction(write=write) as tx:
            yield tx
            if self.armed:
                raise UndoneError


def test_nothing_is_remembered_of_a_batch_that_was_undone(store: SqlStore) -> None:
    driver = UndoingDriver(store._driver)
    undoing = SqlStore(cast("Driver", driver))
    names(undoing, item("0"), by="o")
    driver.armed = True
    with pytest.raises(UndoneError):
        names(undoing, item("1"), by="p")
    driver.armed = False
    names(undoing, item("1"), by="q", at=1)
    assert row_of(undoing, "1")["discovered_by"] == "q"
