from __future__ import annotations

import gzip
import zlib
from datetime import UTC, datetime

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import Gone, HostDown, HttpError, PenstockError, Throttled, TooLarge
from worker.answers import Inflater, retry_after, status_error, wire_error

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TEXT = "Les élèves ont visité le port. ".encode() * 40


def inflate(coding: str, data: bytes, *, limit: int = 1_000_000, step: int = 7) -> bytes:
    inflater = Inflater(coding, limit)
    for start in range(0, len(data), step):
        inflater.feed(data[start : start + step])
    return inflater.finish()


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


@pytest.mark.parametrize(
    "coding, data",
    [
        ("", TEXT),
        ("identity", TEXT),
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("x-gzip", gzip.compress(TEXT, mtime=0)),
        ("GZIP", gzip.compress(TEXT, mtime=0)),
        ("gzip", gzip.compress(TEXT[:100], mtime=0) + gzip.compress(TEXT[100:], mtime=0)),
        ("gzip", gzip.compress(TEXT, mtime=0) + bytes(10)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", zlib.compress(TEXT, wbits=-15)),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 100_000])
def test_a_body_is_the_same_in_every_coding_that_is_asked_for(coding: str, data: bytes, step: int) -> None:
    assert inflate(coding, data, step=step) == TEXT


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_compressed_body_cut_anywhere_is_never_taken_for_whole(coding: str) -> None:
    whole = gzip.compress(TEXT, mtime=0) if coding == "gzip" else zlib.compress(TEXT)
    for end in range(1, len(whole)):
        with pytest.raises(HttpError, match="ended early"):
            inflate(coding, whole[:end])


@given(st.binary(max_size=200))
def test_bytes_that_are_not_gzip_end_in_our_own_error_or_in_nothing(data: bytes) -> None:
    try:
        assert inflate("gzip", data) == b"" or data.startswith(b"\x1f\x8b")
    except HttpError as error:
        assert "gzip" in str(error)  # noqa: PT017 (either end is right)


def test_a_bomb_is_stopped_at_the_limit() -> None:
    inflater = Inflater("gzip", 1000)
    with pytest.raises(TooLarge):
        inflater.feed(gzip.compress(bytes(10_000_000)))
    assert len(inflater._out) <= 1001


def test_a_body_of_exactly_the_limit_passes_and_one_more_byte_does_not() -> None:
    assert inflate("gzip", gzip.compress(TEXT, mtime=0), limit=len(TEXT)) == TEXT
    with pytest.raises(TooLarge):
        inflate("gzip", gzip.compress(TEXT, mtime=0), limit=len(TEXT) - 1)


def test_thousands_of_empty_members_are_refused() -> None:
    with pytest.raises(HttpError, match="members"):
        inflate("gzip", gzip.compress(b"", mtime=0) * 5000, step=4096)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "sdch"])
def test_a_coding_that_was_not_asked_for_is_refused(coding: str) -> None:
    with pytest.raises(HttpError, match="was not asked for"):
        Inflater(coding, 1000)
