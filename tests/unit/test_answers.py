from __future__ import annotations

import ssl
from datetime import UTC, datetime

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import Gone, HostDown, HttpError, PenstockError, Throttled, Unsafe
from worker.answers import Unanswered, max_age, readable, retry_after, status_error, validator, wire_error

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "value, seconds",
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("99999999999999999999", 86_400),
        ("Sun, 01 Mar 2026 12:01:30 GMT", 90),
        ("Sun, 01 Mar 2026 12:01:30 -0000", 90),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Sun, 01 Mar 2099 11:00:00 GMT", 86_400),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date_and_bounded_to_a_day(value: str | None, seconds: float) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_raises(value: str) -> None:
    seconds = retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= 86_400


@pytest.mark.parametrize(
    "status, headers, expected",
    [
        (404, {}, Gone),
        (410, {}, Gone),
        (429, {}, Throttled),
        (429, {"Retry-After": "3"}, Throttled),
        (503, {"Retry-After": "3"}, Throttled),
        (503, {}, HttpError),
        (500, {"Retry-After": "3"}, HttpError),
        (403, {}, HttpError),
        (204, {}, HttpError),
    ],
)
def test_each_status_has_its_error(status: int, headers: dict[str, str], expected: type[PenstockError]) -> None:
    error = status_error(status, headers, "http://site.example/1")
    assert type(error) is expected
    assert error.details["status"] == status


def test_a_connection_that_breaks_is_an_early_end_after_the_status_and_a_host_that_is_down_before() -> None:
    broken = ConnectionResetError("reset")
    assert type(wire_error(broken, "http://site.example/", 200)) is HttpError
    assert type(wire_error(broken, "http://site.example/", None)) is HostDown
    assert type(wire_error(aiohttp.ServerDisconnectedError(), "http://site.example/", None)) is HttpError


def test_a_certificate_that_proves_nothing_is_a_host_that_is_down_although_it_is_a_value_error() -> None:
    assert type(wire_error(ssl.SSLCertVerificationError("expired"), "https://site.example/", None)) is HostDown
    assert type(wire_error(UnicodeError("label too long"), "https://site.example/", None)) is Unsafe


def test_a_new_connection_without_an_answer_has_the_error_of_its_cause() -> None:
    for cause, expected in ((aiohttp.ServerDisconnectedError(), HttpError), (aiohttp.ClientOSError("reset"), HostDown)):
        error = Unanswered()
        error.__cause__ = cause
        assert type(wire_error(error, "http://site.example/", None)) is expected


@pytest.mark.parametrize(
    "value, seconds",
    [
        ("max-age=300", 300),
        ("public, Max-Age = 0", 0),
        ('no-cache,max-age="60"', 60),
        ("s-maxage=5", None),
        ("s-maxage=5, max-age=6", 6),
        ("max-age=soon", None),
        ("max-age=99999999999999", 999_999_999),
        ("no-store", None),
        ("", None),
    ],
)
def test_how_long_an_answer_stays_fresh_is_read_from_cache_control(value: str, seconds: int | None) -> None:
    assert max_age({"Cache-Control": value}) == seconds


@given(st.text(max_size=600))
def test_a_validator_is_kept_only_as_it_may_stand_in_a_header(value: str) -> None:
    kept = validator(value)
    assert kept in {None, value}
    if kept is not None:
        assert 0 < len(kept) <= 500
        kept.encode("ascii")
        assert "\r" not in kept
        assert "\n" not in kept


@given(st.binary(max_size=30))
def test_a_header_is_always_text_that_can_be_stored(raw: bytes) -> None:
    value = raw.decode("utf-8", "surrogateescape")
    text = readable(value)
    assert text is not None
    assert text.encode().decode() == text
    assert text == value or "\ufffd" in text
