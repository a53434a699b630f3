from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.steps.drift import (
    BASELINE,
    FIELDS,
    LEAST_BASELINE,
    LEAST_RECENT,
    RECENT,
    Tally,
    drifted,
    sizes,
    split,
    tallies,
)
from tasks.steps.page import ParsedPage, Related

COUNTS = st.integers(0, 10**6)
TALLIES = st.builds(
    lambda pages, percent, mean: Tally(pages, pages * percent // 100, pages * mean), COUNTS, st.integers(0, 100), COUNTS
)


def test_every_field_that_a_parser_may_find_is_watched() -> None:
    about = {"parser", "parser_version", "published_raw", "tier", "repaired"}  # how it is read, not what
    assert set(FIELDS) == {one.name for one in fields(ParsedPage)} - about


def test_a_page_is_measured_in_characters_and_entries() -> None:
    page = ParsedPage(
        parser="x",
        parser_version=1,
        title="Five!",
        paragraphs=("three", "and four"),
        authors=("A", "B"),
        related=(Related(id="1"),),
        language="en",
    )
    found = dict(zip(FIELDS, sizes(page), strict=True))
    assert {name: size for name, size in found.items() if size} == {
        "title": 5,
        "paragraphs": 13,
        "authors": 2,
        "related": 1,
        "language": 1,
    }
    empty = ParsedPage(parser="x", parser_version=1)
    counted = tallies([sizes(page), sizes(empty), sizes(empty)])
    assert counted["paragraphs"] == Tally(3, 1, 13)
    assert counted["desk_code"] == Tally(3, 0, 0)


@pytest.mark.parametrize(
    "before, after, broke",
    [
        ((1000, 950), (100, 100), False),  # better than before
        ((1000, 950), (100, 80), False),  # down by 15 points
        ((1000, 950), (100, 70), True),
        ((1000, 950), (100, 0), True),
        ((1000, 500), (50, 15), False),  # 20 points, which chance may bring to 50 pages
        ((1000, 500), (500, 150), True),
        ((LEAST_BASELINE - 1, LEAST_BASELINE - 1), (500, 0), False),  # too little is known of before
        ((1000, 1000), (LEAST_RECENT - 1, 0), False),  # and here of now
        ((1000, 1000), (LEAST_RECENT, 0), True),
        ((1000, 0), (100, 0), False),  # it never was there
        ((0, 0), (0, 0), False),
    ],
)
def test_a_fill_rate_breaks_when_it_falls_by_a_fifth_and_not_by_chance(
    before: tuple[int, int], after: tuple[int, int], broke: bool
) -> None:
    assert drifted("fill", Tally(*before, before[1]), Tally(*after, after[1])) is broke


@pytest.mark.parametrize("mean, broke", [(100, False), (51, False), (49, True), (199, False), (201, True)])
def test_a_size_breaks_when_it_doubles_or_halves(mean: int, broke: bool) -> None:
    assert drifted("size", Tally(900, 800, 80_000), Tally(60, 55, 55 * mean)) is broke
    assert not drifted("size", Tally(900, LEAST_BASELINE - 1, 80_000), Tally(60, 55, 55 * mean))
    assert not drifted("size", Tally(900, 800, 80_000), Tally(60, LEAST_RECENT - 1, 55 * mean))


@given(TALLIES, TALLIES)
def test_any_counts_can_be_judged(before: Tally, after: Tally) -> None:
    assert drifted("fill", before, after) in {True, False}
    assert drifted("size", before, before) is False


def test_as_many_spans_are_now_as_it_takes_and_at_most_a_day() -> None:
    now = 1000
    spans = {span: Tally(20, 10, 100) for span in range(now - 200, now + 1)}
    recent, before = split(spans, now)
    assert (recent.pages, before.pages) == (60, 20 * BASELINE)
    thin = {now: Tally(1, 1, 1), now - RECENT: Tally(500, 500, 500)}
    recent, before = split(thin, now)
    assert (recent.pages, before.pages) == (1, 500)
    assert split({}, now) == (Tally(), Tally())
