"""A source's profile that is another one: what failed with the old one is tried again, once."""

from __future__ import annotations

from tests.support.arrivals import EPOCH, NOW, SECOND, broken, commit, failure, page, retry_of
from worker.store import SourceChange, SqlStore

VERSIONS = {"vardump": 1}


def note(store: SqlStore, **versions: str) -> list[tuple[str, int, bool]]:
    return [
        (one.source, one.failures, one.resumed)
        for one in store.note_profiles(versions, parser_versions=VERSIONS, now=NOW)
    ]


def claimed(store: SqlStore, now: int = NOW) -> list[str]:
    leases = store.claim_failures(limit=9, lease_us=SECOND, now=now, parser_versions=VERSIONS)
    return sorted(f"{one.payload.source}/{one.payload.item}" for one in leases)


def test_the_failures_of_a_source_are_due_with_a_profile_that_is_new_or_another_one(store: SqlStore) -> None:
    commit(store, broken("1"), broken("2", b"x", retry_at=NOW + 99 * SECOND), broken("3", source="t"), page("4", "a"))
    assert note(store, s="p1") == [("s", 2, False)]
    assert claimed(store) == ["s/1", "s/2"]


def test_a_profile_that_is_the_same_makes_nothing_due(store: SqlStore) -> None:
    assert note(store, s="p1", t="q1") == [("s", 0, False), ("t", 0, False)]
    commit(store, broken("1"), broken("2", source="t"))
    assert note(store, s="p1", t="q1") == []
    assert claimed(store) == []
    assert note(store, s="p1", t="q2") == [("t", 1, False)]
    assert claimed(store) == ["t/2"]


def test_a_source_without_a_profile_is_left_alone(store: SqlStore) -> None:
    note(store, s="p1")
    commit(store, broken("1"))
    assert note(store) == []
    assert claimed(store) == []


def test_what_fails_again_is_dead_again_and_the_trace_tells_why_it_was_tried(store: SqlStore) -> None:
    commit(store, broken("1"))
    note(store, s="p1")
    store.commit_retry(retry_of(store, now=NOW, result=failure("1")), worker="w", now=NOW)
    assert claimed(store, NOW + 9 * SECOND) == []
    (traced,) = store.trace("s/1")
    assert "its profile is another one" in [one.get("message") or one.get("note") for one in traced["steps"]]


def test_a_source_that_the_ceiling_paused_goes_on_and_one_that_a_person_paused_does_not(store: SqlStore) -> None:
    for source, by in (("s", "ceiling"), ("t", "ada")):
        store.pause_source(source, SourceChange("why", by, NOW, VERSIONS))
    assert note(store, s="p1", t="q1") == [("s", 0, True), ("t", 0, False)]
    assert store.paused_sources() == {"t": "why"}
    assert store.resume_newer(epoch=EPOCH, parser_versions=VERSIONS, now=NOW) == []
