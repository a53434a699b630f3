"""When pages are fetched again: the sooner, the more often they change."""

from __future__ import annotations

from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.steps.page import Recrawl, SourceProfile
from tasks.steps.recrawl import MOST_US, next_fetch, next_interval, recrawl_of

MINUTE = 60_000_000
WITHIN = Recrawl(15 * MINUTE, 240 * MINUTE)


def test_only_what_may_be_fetched_is_fetched_again_and_only_where_the_profile_says_so() -> None:
    profile = SourceProfile(name="s", hosts=("h",), recrawl_min=MINUTE, recrawl_max=9 * MINUTE)
    assert recrawl_of("http://h/a", profile) == Recrawl(MINUTE, 9 * MINUTE)
    assert recrawl_of("http://other/a", profile) is None
    assert recrawl_of(None, profile) is None
    assert recrawl_of("http://h/a", SourceProfile(name="s", hosts=("h",))) is None
    assert recrawl_of("http://h/a", SourceProfile(name="s", recrawl_min=MINUTE)) is None


@pytest.mark.parametrize("least,most", [(MINUTE, MOST_US), (2 * MOST_US, 2 * MOST_US)])
def test_without_a_longest_time_it_is_thirty_days(least: int, most: int) -> None:
    profile = SourceProfile(name="s", hosts=("h",), recrawl_min=least)
    assert recrawl_of("http://h/a", profile) == Recrawl(least, most)


def test_the_interval_narrows_with_changes_and_widens_without_within_its_bounds() -> None:
    def after(*seen: bool | None) -> list[int]:
        every: int | None = None
        found: list[int] = []
        for changed in seen:
            every = next_interval(every, WITHIN, changed=changed)
            found.append(every // MINUTE)
        return found

    assert after(True, False, False, False, True, None, True, True) == [15, 22, 33, 50, 25, 25, 15, 15]
    assert after(*[False] * 9)[-1] == 240


def test_bounds_that_were_changed_count_at_once() -> None:
    assert next_interval(MINUTE, WITHIN, changed=True) == 15 * MINUTE
    assert next_interval(9999 * MINUTE, WITHIN, changed=None) == 240 * MINUTE


@given(st.integers(0, 2**50), st.integers(1, 2**50), st.text())
def test_a_page_is_due_about_when_its_interval_has_passed(seen_at: int, every: int, key: str) -> None:
    at = next_fetch(seen_at, every, key)
    assert 0.89 * every <= at - seen_at <= 1.11 * every
    assert at == next_fetch(seen_at, every, key)


def test_pages_that_came_together_are_spread() -> None:
    waits = [next_fetch(0, 1000 * MINUTE, f"key {n}") / MINUTE for n in range(2000)]
    assert len(set(waits)) > 1990
    assert 990 < mean(waits) < 1010
    assert sum(wait < 950 for wait in waits) > 300
