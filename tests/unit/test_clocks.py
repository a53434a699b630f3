from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.steps.clocks import offset_us

HOUR = 3_600_000_000


@pytest.mark.parametrize(
    "known, asked, told, answered, offset",
    [
        (0, 100, 100, 110, 0),  # they agree, to the last
        (0, 100, 110, 110, 0),
        (0, 100, 99, 110, 11),  # ours is ahead
        (0, 100, 111, 110, -1),
        (11, 200, 195, 210, 11),  # what is known is as good as it was
        (HOUR, 100, 105, 110, 5),  # ours was set back
        (0, HOUR + 100, 105, HOUR + 110, HOUR + 5),  # or ahead
    ],
)
def test_what_is_known_stays_until_an_answer_shows_otherwise(
    known: int, asked: int, told: int, answered: int, offset: int
) -> None:
    assert offset_us(known, asked=asked, told=told, answered=answered) == offset


@given(st.integers(-HOUR, HOUR), st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=1))
def test_it_is_never_too_early_and_late_by_one_call_at_most(real: int, calls: list[tuple[int, int]]) -> None:
    known, ours, longest = 0, 10 * HOUR, 0
    for there, back in calls:
        asked, told, answered = ours, ours + there - real, ours + there + back
        known = offset_us(known, asked=asked, told=told, answered=answered)
        ours, longest = answered + 1, max(longest, there + back)
        assert abs(known - real) <= longest
        assert asked <= told + known <= answered
