from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from tasks.steps.page import ItemState
from tests.support.arrivals import broken, commit, item, page
from tests.support.frontier import claim, keys, names, row_of
from worker.store import SqlStore
from worker.store.driver import Driver, Transaction


def test_items_are_stored_once_however_many_pages_name_them(store: SqlStore) -> None:
    names(store, item("1"), item("2"), item("1"), by="p")
    names(store, item("2"), item("3"), by="q", at=1)
    assert store.counts().items == {"due": 3, "fetched": 2}
    assert keys(claim(store)) == ["1", "2", "3"]
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


def test_why_an_item_is_not_followed_is_known_until_it_is(store: SqlStore) -> None:
    names(store, item("1", ItemState.BOUNDED, bound="depth"), item("2", ItemState.BOUNDED, bound="page"), by="p")
    names(store, item("3", ItemState.BOUNDED, bound="page"), item("4", ItemState.BOUNDED), by="q", at=1)
    assert store.counts().bounded == {"depth": 1, "page": 2, "unknown": 1}
    names(store, item("2"), by="r", at=2)
    assert store.counts().bounded == {"depth": 1, "page": 1, "unknown": 1}
    assert row_of(store, "2")["bound"] is None


def test_the_host_of_an_item_is_as_a_request_names_it(store: SqlStore) -> None:
    for number, url in enumerate(
        ["HTTP://User@Quay.Example:80/a", "https://[::1]:8443/", "http://0x7f.1/", "ftp://h/"]
    ):
        commit(store, page(str(number), f"text {number}", url=url))
    hosts = [row_of(store, str(number))["host"] for number in range(4)]
    assert hosts == ["quay.example", "[::1]:8443", "127.0.0.1", ""]


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
