"""How hosts stand: what is due at them, which are left alone, and what their robots.txt is."""

from __future__ import annotations

import pytest

from tasks.fetch_ports import HostPause, RobotsRow
from tests.support.arrivals import NOW, SECOND, commit, item, page
from tests.support.frontier import claim, names
from worker.store import HostStanding, SqlStore

PAUSE = HostPause("b", NOW + 60 * SECOND, "asked")
ROBOTS = RobotsRow("http://a", "found", "User-agent: *\nDisallow:", 200, NOW, NOW + SECOND)


def standing(store: SqlStore, *, source: str | None = None, limit: int = 10) -> list[HostStanding]:
    return store.standing(source=source, limit=limit, now=NOW)


def test_hosts_that_are_left_alone_come_first_and_then_those_with_most_due(store: SqlStore) -> None:
    names(store, item("1", host="a"), item("2", host="b"), item("3", host="c"), item("4", host="c"))
    gone = HostPause("gone", NOW - 1, "down")
    store.pause_hosts([PAUSE, gone, HostPause("idle", NOW + SECOND, "down")], now=NOW - 2)
    store.put_robots(ROBOTS)
    assert standing(store) == [
        HostStanding("b", "s", 1, PAUSE, None),
        HostStanding("idle", None, 0, HostPause("idle", NOW + SECOND, "down"), None),
        HostStanding("c", "s", 2, None, None),
        HostStanding("a", "s", 1, None, ROBOTS),
    ]
    assert [one.host for one in standing(store, limit=2)] == ["b", "idle"]


def test_what_is_leased_or_waits_for_its_time_is_not_due(store: SqlStore) -> None:
    names(store, item("1", host="a"))
    assert len(claim(store)) == 1
    assert standing(store) == []


def test_of_one_source_only_its_own_hosts_are_told(store: SqlStore) -> None:
    names(store, item("1", host="a"))
    commit(store, page("p", "another text", source="t", discovered=[item("2", host="b")]))
    assert {one.source for one in standing(store, source="s")} == {"s"}
    store.pause_hosts([HostPause("idle", NOW + SECOND, "down")], now=NOW)
    assert "idle" not in {one.host for one in standing(store, source="s")}


def test_more_items_than_are_counted(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.store.standing.MOST_COUNTED", 2)
    names(store, *(item(str(one), host="a") for one in range(5)))
    assert [one.due for one in standing(store)] == [2]
