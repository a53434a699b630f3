"""RFC 9309, sections 2.3 and 2.4: what an answer to a request for /robots.txt means, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tasks.errors import FetchTimeout, Gone, HostDown, HttpError, Throttled, TooLarge, Unsafe
from tasks.fetch_ports import Fetched, NotModified, Redirect, RobotsRow
from tasks.steps.robots import row_of, rules_of
from worker.answers import status_error

ORIGIN = "https://quay.example"
URL = f"{ORIGIN}/robots.txt"
BODY = b"User-agent: penstock\nDisallow: /a\n"
AT = datetime(2026, 11, 22, tzinfo=UTC)
NOW = 1_795_305_600_000_000
SECOND = 1_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND

NONE_ANSWERS = [status_error(status, {}, URL) for status in (400, 401, 403, 404, 405, 410, 418, 451, 499)]
UNREACHABLE_ANSWERS = [
    *[status_error(status, {}, URL) for status in (429, 500, 502, 503, 504, 599, 300, 304, 103, 206, 999)],
    HostDown(status=None, url=URL),
    FetchTimeout(status=200, url=URL),
    HttpError("the answer ended early", status=200, url=URL),
    TooLarge(status=200, url=URL),
    Unsafe(status=None, url=URL),
    ValueError("a bug"),
]


def fetched(body: bytes = BODY, max_age: int | None = None) -> Fetched:
    return Fetched(url=URL, status=200, body=body, content_type="text/plain", fetched_at=AT, max_age=max_age)


def known(state: str = "found", *, age: int = DAY, wait: int = 0) -> RobotsRow:
    """Return a row that was fetched ``age`` ago, and was to be asked for again after ``wait``."""
    if state == "found":
        return RobotsRow(ORIGIN, "found", BODY.decode(), 200, NOW - age, NOW)
    if state == "none":
        return RobotsRow(ORIGIN, "none", None, 404, NOW - age, NOW)
    return RobotsRow(ORIGIN, "unavailable", None, 503, NOW - wait, NOW)


def allowed(row: RobotsRow, *paths: str) -> list[bool]:
    found = rules_of(row, "penstock")
    return [found.allowed(ORIGIN + path) for path in paths]


def test_a_file_that_is_there_is_followed() -> None:
    row = row_of(ORIGIN, fetched(), NOW)
    assert row == RobotsRow(ORIGIN, "found", BODY.decode(), 200, NOW, NOW + DAY)
    assert allowed(row, "/a", "/b", "/robots.txt") == [False, True, True]


@pytest.mark.parametrize("body", [b"", b"<!doctype html><p>Not found", b"\xff\xfe\x00\x00", b"PK\x03\x04\0\0"])
def test_a_file_without_rules_allows_all(body: bytes) -> None:
    assert allowed(row_of(ORIGIN, fetched(body), NOW), "/a") == [True]


@pytest.mark.parametrize(
    "max_age, lifetime",
    [(None, DAY), (3600, HOUR), (0, 5 * MINUTE), (299, 5 * MINUTE), (86_400, DAY), (10**9, DAY), (-5, 5 * MINUTE)],
)
def test_a_file_is_kept_for_as_long_as_it_says_within_bounds(max_age: int | None, lifetime: int) -> None:
    assert row_of(ORIGIN, fetched(max_age=max_age), NOW).expires_at == NOW + lifetime


@pytest.mark.parametrize("answer", NONE_ANSWERS, ids=lambda answer: str(answer.details["status"]))
@pytest.mark.parametrize("old", [None, known("found"), known("none"), known("unavailable")])
def test_with_a_status_4xx_all_is_allowed(answer: Exception, old: RobotsRow | None) -> None:
    row = row_of(ORIGIN, answer, NOW, old)
    assert (row.state, row.body, row.expires_at) == ("none", None, NOW + DAY)
    assert allowed(row, "/a") == [True]


@pytest.mark.parametrize("status", [204, 205])
def test_no_content_is_an_empty_file(status: int) -> None:
    assert row_of(ORIGIN, status_error(status, {}, URL), NOW).state == "none"


def test_after_five_redirects_there_is_none() -> None:
    row = row_of(ORIGIN, Redirect(url=URL, to="https://b.example/robots.txt", status=302), NOW)
    assert (row.state, row.status) == ("none", 302)


@pytest.mark.parametrize("answer", UNREACHABLE_ANSWERS, ids=repr)
@pytest.mark.parametrize("old", [None, known("none"), known("unavailable"), known("found", age=30 * DAY)])
def test_what_cannot_be_had_allows_nothing_but_itself(answer: Exception, old: RobotsRow | None) -> None:
    row = row_of(ORIGIN, answer, NOW, old)
    assert (row.state, row.body) == ("unavailable", None)
    assert allowed(row, "/", "/a", "/b", "/robots.txt") == [False, False, False, True]


@pytest.mark.parametrize("answer", UNREACHABLE_ANSWERS, ids=repr)
def test_the_last_copy_is_used_for_a_month_while_there_is_no_other(answer: Exception) -> None:
    old = known("found", age=30 * DAY - 1)
    row = row_of(ORIGIN, answer, NOW, old)
    assert (row.state, row.body, row.fetched_at, row.expires_at) == ("found", old.body, old.fetched_at, NOW + HOUR)
    assert allowed(row, "/a", "/b") == [False, True]


def test_a_copy_that_is_still_so_is_new_again() -> None:
    row = row_of(ORIGIN, NotModified(url=URL, fetched_at=AT), NOW, known("found"))
    assert row == RobotsRow(ORIGIN, "found", BODY.decode(), 200, NOW, NOW + DAY)


@pytest.mark.parametrize("old", [None, known("none"), known("unavailable")])
def test_nothing_cannot_be_as_it_was(old: RobotsRow | None) -> None:
    assert row_of(ORIGIN, NotModified(url=URL, fetched_at=AT), NOW, old).state == "unavailable"


def test_what_cannot_be_had_is_asked_for_more_and_more_seldom() -> None:
    row, waits, now = None, [], NOW
    for _ in range(9):
        row = row_of(ORIGIN, HostDown(status=None), now, row)
        waits.append((row.expires_at - now) // MINUTE)
        now = row.expires_at
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(
    "seconds, wait", [(30.0, 30 * SECOND), (0.0, SECOND), (7200.5, 7200 * SECOND + SECOND // 2), (10.0**9, DAY)]
)
@pytest.mark.parametrize("old", [None, known("found"), known("unavailable", wait=HOUR)])
def test_or_when_the_host_says(seconds: float, wait: int, old: RobotsRow | None) -> None:
    answer = Throttled(status=503, url=URL, retry_after=seconds)
    assert row_of(ORIGIN, answer, NOW, old).expires_at == NOW + wait


def test_a_file_that_is_back_is_followed_at_once() -> None:
    for old in (known("none"), known("unavailable", wait=HOUR), known("found", age=40 * DAY)):
        assert row_of(ORIGIN, fetched(b"User-agent: *\nDisallow:"), NOW, old).body == "User-agent: *\nDisallow:"


def test_a_page_that_is_gone_is_a_file_that_is_not_there() -> None:
    assert row_of(ORIGIN, Gone(status=404, url=URL), NOW).state == "none"
