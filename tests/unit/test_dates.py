from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.steps.parse.dates import any_date
from tests.support.pages import moments

TEHRAN = ZoneInfo("Asia/Tehran")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("2022-02-24T07:41:09Z", "2022-02-24T07:41:09+00:00"),
        ("2022-02-24t07:41:09.250z", "2022-02-24T07:41:09.250000+00:00"),
        ("2022-02-24T07:41:09+0100", "2022-02-24T07:41:09+01:00"),
        ("2022-02-24 07:41:09 -05:30", "2022-02-24T07:41:09-05:30"),
        ("2022-02-24 07:41:09 GMT", "2022-02-24T07:41:09+00:00"),
        ("2022-02-24 07:41:09+01", "2022-02-24T07:41:09+01:00"),
        ("2022-02-24T07:41", "2022-02-24T07:41:00+03:30"),
        (" 2022-02-24 ", "2022-02-24T00:00:00+03:30"),
        ("2022-07-24T07:41:09", "2022-07-24T07:41:09+04:30"),
        ("Thu, 24 Feb 2022 07:41:09 GMT", "2022-02-24T07:41:09+00:00"),
        ("٢٠٢٢-۰۲-24", "2022-02-24T00:00:00+03:30"),
        ("24 Feb 2022 07:41 -0530", "2022-02-24T07:41:00-05:30"),
    ],
)
def test_dates_are_read_in_their_own_zone_or_the_sources(text: str, expected: str) -> None:
    found = any_date(text, TEHRAN)
    assert found is not None
    assert found.isoformat() == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "yesterday", "2022-02-30", "2022-02-24T25:00:00Z", "2022-02-24T07:41:09+99:00", "2022",
        "0001-01-01T00:00:00+10:00", "9999-12-31", "Fri, 24 Feb 2022 07:41:09 GMT", "30 Feb 2022 07:41:09 GMT",
        "24 Feb 2022 07:41:09 +9900", "24 Fab 2022 07:41:09 GMT", "2022-W08-4", "20220224T074109Z",
    ],
)  # fmt: skip
def test_what_is_no_date_or_an_impossible_one_is_none(text: str) -> None:
    assert any_date(text, UTC) is None


@given(text=st.text())
def test_no_text_makes_it_raise(text: str) -> None:
    any_date(text, UTC)


@given(moment=moments)
def test_iso_dates_are_read_back(moment: datetime) -> None:
    aware = moment.replace(tzinfo=TEHRAN)
    assert any_date(aware.isoformat(), UTC) == aware
    assert any_date(moment.isoformat(), TEHRAN) == aware
