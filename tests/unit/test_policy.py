from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.steps.page import Payload, SourceProfile
from tasks.steps.policy import BUDGETS, LONG_STEPS, Attempt, next_attempt, reached, retries

SITE = SourceProfile(name="s", item_url="http://h/{id}")
PAGE = Payload(source="s", body=b"", url="http://h/1")


def plan(
    error_class: str, attempts: int = 0, *, payload: Payload = PAGE, profile: SourceProfile = SITE
) -> Attempt | None:
    return next_attempt(error_class, payload, profile, attempts=attempts, now=1000, base_us=8, cap_us=10_000, draw=0.5)


@pytest.mark.parametrize("error_class, count", [("Truncated", 5), ("Malformed", 3)])
def test_a_page_that_came_in_broken_is_fetched_again_so_often(error_class: str, count: int) -> None:
    plans = [plan(error_class, attempts) for attempts in range(count + 2)]
    assert [one is not None and one.refetch for one in plans] == [True] * count + [False] * 2
    assert [one.at for one in plans if one] == [1000 + 4 * 2**attempts for attempts in range(count)]


@pytest.mark.parametrize("error_class", ["TimeLimit", "MemoryLimit", "Poison", "ParserCrash"])
def test_a_page_that_met_a_limit_is_parsed_a_second_and_a_third_time_much_later(error_class: str) -> None:
    for payload in (PAGE, replace(PAGE, url=None)):  # no URL is needed
        plans = [plan(error_class, attempts, payload=payload) for attempts in range(3)]
        long = [Attempt(1000 + 4 * 2 ** (attempts + LONG_STEPS), refetch=False) for attempts in range(2)]
        assert plans == [*long, None]


@pytest.mark.parametrize("error_class", ["UnknownFormat", "TooLarge", "Undecodable", "Gone", "SomethingElse"])
def test_what_is_in_the_bytes_is_given_up_at_once(error_class: str) -> None:
    assert plan(error_class) is None


def test_a_broken_page_that_may_not_be_fetched_is_given_up_at_once() -> None:
    assert plan("Truncated", payload=replace(PAGE, url=None)) is None
    assert plan("Truncated", payload=replace(PAGE, url="http://elsewhere/1")) is None
    assert plan("Truncated", profile=SourceProfile(name="s")) is None


def test_a_profile_bounds_the_budgets_and_may_say_its_own() -> None:
    short = replace(SITE, max_attempts=1)
    assert [retries(one, short) for one in ("Truncated", "TimeLimit", "UnknownFormat")] == [1, 1, 0]
    own = replace(SITE, max_attempts=1, retries={"Truncated": 8, "UnknownFormat": 1, "Poison": 0})
    assert [retries(one, own) for one in ("Truncated", "UnknownFormat", "Poison", "Malformed")] == [8, 1, 0, 1]
    assert plan("Truncated", 7, profile=own) is not None
    assert plan("Poison", profile=own) is None


def test_every_error_class_of_a_page_has_a_budget() -> None:
    assert set(BUDGETS) == {
        "Truncated", "Malformed", "UnknownFormat", "TooLarge", "Undecodable", "Poison", "TimeLimit", "MemoryLimit",
        "ParserCrash",
    }  # fmt: skip


def test_the_ceiling_needs_both_enough_failures_and_a_large_part() -> None:
    assert not reached(99, 99, share=0.5, least=100)
    assert reached(100, 100, share=0.5, least=100)
    assert reached(200, 100, share=0.5, least=100)
    assert not reached(201, 100, share=0.5, least=100)
    assert not reached(0, 0, share=0.5, least=1)
