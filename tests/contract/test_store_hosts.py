"""What is known of hosts: their robots.txt, and how long they are to be left alone."""

from __future__ import annotations

from tasks.fetch_ports import HostPause, RobotsRow
from tests.support.arrivals import NOW, SECOND
from worker.store import SqlStore

HTTP, HTTPS = "http://h", "https://h:8443"
LATER = NOW + 100 * SECOND


def found(body: str = "User-agent: *\nDisallow: /no\x00é", at: int = NOW) -> RobotsRow:
    return RobotsRow(HTTP, "found", body, 200, at, at + SECOND)


def test_robots_are_kept_by_origin(store: SqlStore) -> None:
    away = RobotsRow(HTTPS, "unavailable", None, None, NOW, LATER)
    store.put_robots(found())
    store.put_robots(away)
    known = store.robots([HTTP, HTTPS, HTTP, "http://other"])
    assert known == {HTTP: found("User-agent: *\nDisallow: /no\ufffdé"), HTTPS: away}
    assert store.robots([]) == {}


def test_the_last_answer_counts_whoever_notes_it_first(store: SqlStore) -> None:
    newer = RobotsRow(HTTP, "none", None, 404, NOW + SECOND, LATER)
    store.put_robots(newer)
    store.put_robots(found())
    assert store.robots([HTTP]) == {HTTP: newer}
    store.put_robots(found("", at=NOW + 2 * SECOND))
    assert store.robots([HTTP])[HTTP].body == ""


def test_hosts_are_left_alone_until_then(store: SqlStore) -> None:
    asked = HostPause("a", NOW + 5 * SECOND, "asked")
    store.pause_hosts([asked, HostPause("b:81", NOW + SECOND, "down")], now=NOW)
    assert store.host_pauses(["a", "c", "b:81"], now=NOW) == {
        "a": asked,
        "b:81": HostPause("b:81", NOW + SECOND, "down"),
    }
    assert store.host_pauses(["a", "b:81"], now=NOW + SECOND) == {"a": asked}
    assert store.host_pauses(["a"], now=asked.until) == {}
    assert store.host_pauses([], now=NOW) == {}


def test_of_two_pauses_of_a_host_the_longer_one_stays(store: SqlStore) -> None:
    long, short = HostPause("a", LATER, "robots"), HostPause("a", NOW + SECOND, "down")
    store.pause_hosts([long, short], now=NOW)
    store.pause_hosts([short], now=NOW)
    assert store.host_pauses(["a"], now=NOW) == {"a": long}
    longer = HostPause("a", LATER + 1, "asked")
    store.pause_hosts([longer], now=NOW)
    assert store.host_pauses(["a"], now=NOW) == {"a": longer}
    store.pause_hosts([], now=NOW)
