"""How hosts stand: what there is of each, which are left alone, what their robots.txt is, and what is not followed."""

from __future__ import annotations

import pytest

from tasks.fetch_ports import HostPause, RobotsRow
from tasks.steps.page import Bound, DiscoveredItem, ItemState
from tests.support.arrivals import NOW, SECOND, commit, item, page
from tests.support.frontier import claim, failed, fetch_failure, names, only, postponed
from worker.store import CutItems, HostStanding, SqlStore

PAUSE = HostPause("b", NOW + 60 * SECOND, "asked")
ROBOTS = RobotsRow("http://a", "found", "User-agent: *\nDisallow:", 200, NOW, NOW + SECOND)


def standing(store: SqlStore, *, source: str | None = None, limit: int = 10) -> list[HostStanding]:
    """Return how hosts stand, but for the one of the pages that name the items."""
    return [one for one in store.standing(source=source, limit=limit, now=NOW) if one.host != "h"]


def due(host: str, n: int, pause: HostPause | None = None, robots: RobotsRow | None = None) -> HostStanding:
    return HostStanding(host, "s", {"due": n}, None, pause, robots)


def bounded(key: str, bound: Bound | None) -> DiscoveredItem:
    return item(key, ItemState.BOUNDED, bound=bound)


def test_hosts_that_are_left_alone_come_first_and_then_those_with_most_due(store: SqlStore) -> None:
    names(store, item("1", host="a"), item("2", host="b"), item("3", host="c"), item("4", host="c"))
    gone, idle = HostPause("gone", NOW - 1, "down"), HostPause("idle", NOW + SECOND, "down")
    store.pause_hosts([PAUSE, gone, idle], now=NOW - 2)
    store.put_robots(ROBOTS)
    assert standing(store) == [
        due("b", 1, PAUSE),
        HostStanding("idle", None, {}, pause=idle),
        due("c", 2),
        due("a", 1, robots=ROBOTS),
    ]
    assert [one.host for one in standing(store, limit=2)] == ["b", "idle"]
    assert store.hosts_alone(now=NOW) == {"asked": 1, "down": 1}


def test_the_busiest_hosts_are_shown_wherever_their_names_stand(store: SqlStore) -> None:
    names(store, item("1", host="a"), item("2", host="z"), item("3", host="z"))
    assert [one.host for one in standing(store, limit=1)] == ["z"]


def test_items_are_told_by_state_and_when_the_first_that_waits_is_due(store: SqlStore) -> None:
    names(store, item("1", host="a"))
    postponed(store, only(store), NOW + 9 * SECOND)
    names(store, item("2", host="a"), by="q")
    postponed(store, only(store), NOW + 5 * SECOND)
    names(store, item("3", host="a"), by="r")
    failed(store, only(store), fetch_failure())
    names(store, item("4", host="a"), item("5", ItemState.BOUNDED, host="a", bound="depth"), by="t")
    assert len(claim(store)) == 1
    names(store, item("6", host="a"), by="u")
    items = {"due": 1, "scheduled": 2, "leased": 1, "failed": 1, "bounded": 1}
    assert standing(store) == [HostStanding("a", "s", items, NOW + 5 * SECOND)]


def test_of_one_source_only_its_own_hosts_are_told(store: SqlStore) -> None:
    names(store, item("1", host="a"))
    commit(store, page("p", "another text", source="t", discovered=[item("2", host="b")]))
    store.pause_hosts([PAUSE, HostPause("idle", NOW + SECOND, "down")], now=NOW)
    assert standing(store, source="s") == [due("a", 1)]
    assert [(one.host, one.source, one.pause) for one in standing(store, source="t")] == [("b", "t", PAUSE)]


def test_of_two_schemes_the_robots_that_were_learned_last_are_told(store: SqlStore) -> None:
    names(store, item("1", host="a"))
    newer = RobotsRow("https://a", "none", None, 404, NOW + SECOND, NOW + 2 * SECOND)
    store.put_robots(newer)
    store.put_robots(ROBOTS)
    assert [one.robots for one in standing(store)] == [newer]


def test_where_not_all_items_are_looked_at_what_is_due_is_found_all_the_same(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.store.standing.MOST_LOOKED_AT", 2)
    monkeypatch.setattr("worker.store.standing.MOST_COUNTED", 3)
    names(store, *(item(f"{host}{one}", host=host) for host in ("a", "b") for one in range(5)))
    assert [(one.host, one.due, one.is_least) for one in standing(store)] == [("a", 3, True), ("b", 3, True)]


def test_what_is_not_followed_is_told_by_source_and_bound_with_one_of_them(store: SqlStore) -> None:
    names(store, item("no", host="h"))
    failed(store, only(store), fetch_failure("Disallowed", status=None))
    names(store, item("down", host="h"), by="q")
    failed(store, only(store), fetch_failure("HttpError"))
    cuts = [bounded("2", "trap"), bounded("1", "trap"), bounded("3", "depth")]
    names(store, *cuts, bounded("4", None), item("5", ItemState.UNROUTABLE), item("6"), by="r")
    commit(store, page("p", "another text", source="t", discovered=[bounded("7", "page")]))
    of_s = [
        CutItems("s", "trap", 2, False, "http://h/1"),
        CutItems("s", "depth", 1, False, "http://h/3"),
        CutItems("s", "robots", 1, False, "http://h/no"),
        CutItems("s", "unknown", 1, False, "http://h/4"),
        CutItems("s", "unroutable", 1, False, "5"),
    ]
    of_t = CutItems("t", "page", 1, False, "http://h/7")
    assert store.cut_items(source=None, limit=10) == [*of_s, of_t]
    assert store.cut_items(source="t", limit=10) == [of_t]
    assert store.cut_items(source="s", limit=1) == of_s[:1]


def test_more_is_cut_than_is_counted(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.store.standing.MOST_LOOKED_AT", 2)
    names(store, *(bounded(str(one), "trap") for one in range(5)))
    assert [(one.count, one.is_least) for one in store.cut_items(source=None, limit=10)] == [(2, True)]
