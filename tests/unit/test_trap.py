from __future__ import annotations

import pytest

from tasks.steps.trap import trap

YEAR = 2024
SITE = "https://quay.example"


@pytest.mark.parametrize(
    "path,reason",
    [
        ("/a/b/a/b/a/b/a/b", "repeats 'a'"),
        ("/" + "x/" * 21, "more than 20 levels"),
        ("/" + "/".join(f"s{one}" for one in range(21)), "more than 20 levels"),
        ("/?q=" + "a" * 2000, "longer than 2000 characters"),
        ("/list?" + "&".join(f"f{one}=1" for one in range(13)), "more than 12 parameters"),
        ("/calendar/2031/05", "a calendar in 2031"),
        ("/events?year=2027&month=1", "a calendar in 2027"),
        ("/events?date=2027-01-01", "a calendar in 2027"),
        ("/kalender/2099", "a calendar in 2099"),
        ("/termine?month=203001", "a calendar in 2030"),
    ],
)
def test_endless_urls_are_told(path: str, reason: str) -> None:
    found = trap(SITE + path, YEAR)
    assert found is not None
    assert reason in found or path.startswith("/x/")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/2024/05/05/ferry-and-fog",
        "/news/2031-plan-for-the-harbour",  # about a year to come
        "/calendar/2025/01",
        "/calendar/1999/01",
        "/a/b/a/b/a/b",
        "/7/7/7/7/7",
        "/list?" + "&".join(f"f{one}=1" for one in range(12)),
        "/date/20240505123456789",
        "/yearbook/12020",
    ],
)
def test_what_a_site_really_has_is_none(path: str) -> None:
    assert trap(SITE + path, YEAR) is None


def test_without_a_time_no_calendar_is_far_away() -> None:
    assert trap(f"{SITE}/calendar/2031/05", None) is None
