from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.steps.dedupe import Identity, Known, Observation, Segment, cut_by, decide, is_late
from tasks.steps.page import Outcome
from tests.support.observations import MemoryStore, reference

A, B = Identity("s", "a"), Identity("s", "b")

observations = st.lists(
    st.builds(
        Observation,
        st.sampled_from([A, B, Identity("t", "a")]),
        st.sampled_from(["x", "y", "z"]),
        st.integers(0, 12),
    ),
    max_size=14,
)


def batches(of: Sequence[Observation], rng: random.Random) -> list[list[Observation]]:
    """Cut a sequence into batches at random places."""
    cuts = sorted(rng.randrange(len(of) + 1) for _ in range(rng.randrange(4)))
    edges = [0, *cuts, len(of)]
    return [list(of[start:end]) for start, end in itertools.pairwise(edges)]


@settings(max_examples=1000)
@given(observations, st.randoms(use_true_random=False))
def test_any_order_and_any_batches_end_in_the_same_state(of: list[Observation], rng: random.Random) -> None:
    shuffled = rng.sample(of, len(of))
    store = MemoryStore()
    for batch in batches(shuffled, rng):
        store.commit(batch)
    assert store.state() == reference(of)


@settings(max_examples=200)
@given(observations, st.randoms(use_true_random=False))
def test_each_content_is_new_once_and_each_identity_begins_once(of: list[Observation], rng: random.Random) -> None:
    store = MemoryStore()
    outcomes = [outcome for batch in batches(of, rng) for outcome in store.commit(batch)]
    first_ones = [outcome for outcome in outcomes if outcome in {Outcome.NEW, Outcome.DUPLICATE}]
    assert len(first_ones) == len({one.identity for one in of})
    assert outcomes.count(Outcome.NEW) <= len({one.content_hash for one in of})


@pytest.mark.parametrize(
    "seen,outcome",
    [
        ([], "new"),
        ([(A, "x", 1)], "unchanged"),
        ([(A, "y", 1)], "revision"),
        ([(B, "x", 1)], "duplicate"),
        ([(B, "y", 1)], "new"),
        ([(A, "y", 9)], "revision"),
        ([(A, "x", 9)], "unchanged"),
        ([(A, "y", 1), (A, "x", 6)], "unchanged"),
        ([(A, "y", 1), (A, "y", 9)], "revision"),
        ([(A, "x", 1), (A, "y", 9)], "unchanged"),
    ],
)
def test_the_outcome_follows_from_what_was_there(seen: list[tuple[Identity, str, int]], outcome: str) -> None:
    store = MemoryStore()
    for identity, content, time in seen:
        store.commit([Observation(identity, content, time)])
    assert store.commit([Observation(A, "x", 5)]) == [outcome]


def test_a_late_observation_of_other_content_cuts_a_revision_where_it_was_seen() -> None:
    store = MemoryStore()
    for time in (1, 5, 10):
        store.commit([Observation(A, "x", time)])
    store.commit([Observation(A, "y", 3)])
    assert store.state().segments[A] == [("x", 1, 1), ("y", 3, 3), ("x", 5, 10)]


def test_times_that_are_not_known_any_more_leave_the_known_ends() -> None:
    stored = [Segment("x", (1, 10), row=1)]
    decision = decide_one(stored, Observation(A, "y", 3))
    assert [(one.content_hash, one.first_seen, one.last_seen) for one in decision] == [
        ("x", 1, 1),
        ("y", 3, 3),
        ("x", 10, 10),
    ]
    assert (decision[0].row, decision[2].copy_of) == (1, 1)


def test_a_segment_that_grew_backwards_and_is_then_cut_keeps_its_stored_page_in_the_later_part() -> None:
    stored = [Segment("x", (5, 9), row=5)]
    decision = decide_all(stored, [Observation(A, "x", 1), Observation(A, "y", 3)])
    left, middle, right = decision
    assert (left.seen, left.row, left.told_by) == ((1,), None, 0)
    assert (middle.seen, middle.told_by) == ((3,), 1)
    assert (right.seen, right.row, right.told_by) == ((5, 9), 5, None)


def test_the_page_of_a_revision_is_that_of_its_first_observation() -> None:
    (segment,) = decide_all([Segment("x", (5,), row=5)], [Observation(A, "x", 7), Observation(A, "x", 2)])
    assert (segment.seen, segment.row, segment.told_by) == ((2, 5, 7), 5, 1)


def test_a_late_one_is_one_that_the_head_cannot_place() -> None:
    head = Segment("m", (5, 9), row=5)
    late = {
        (content, time) for content in "amz" for time in range(4, 12) if is_late(head, Observation(A, content, time))
    }
    assert late == {("m", 4), *(("a", time) for time in range(4, 10)), *(("z", time) for time in range(4, 9))}


def test_only_the_inside_of_a_segment_of_other_content_is_cut() -> None:
    history = [Segment("x", (1, 4), row=1), Segment("y", (6, 6), row=6)]
    assert cut_by(history, Observation(A, "z", 2)) is history[0]
    assert cut_by(history, Observation(A, "x", 2)) is None
    assert cut_by(history, Observation(A, "z", 5)) is None
    assert cut_by(history, Observation(A, "z", 7)) is None


def decide_one(stored: list[Segment], one: Observation) -> Sequence[Segment]:
    return decide_all(stored, [one])


def decide_all(stored: list[Segment], of: list[Observation]) -> Sequence[Segment]:
    return decide(Known({A: stored}, {}), of).segments[A]
