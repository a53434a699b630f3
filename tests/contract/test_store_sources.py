from __future__ import annotations

from typing import Any

from tasks.ports import Ceiling, Paused
from tasks.steps.page import RetryArrival
from tests.support.arrivals import EPOCH, NOW, SECOND, broken, commit, item, page
from tests.support.frontier import claim
from worker.store import SourceChange, SqlStore

HALF = Ceiling(share=0.5, least=3)
HOUR = 3600 * SECOND
VERSIONS = {"vardump": 1, "none": 1}


def fail(store: SqlStore, count: int, *, source: str = "s", now: int = NOW, first: int = 0) -> None:
    commit(store, *(broken(f"b{first + n}", b"%d" % n, source=source) for n in range(count)), now=now)


def past(store: SqlStore, *sources: str, ceiling: Ceiling = HALF, now: int = NOW) -> list[str]:
    found = store.pause_past_ceiling(sources or ("s",), ceiling, epoch=EPOCH, parser_versions=VERSIONS, now=now)
    return [one.source for one in found]


def by_hand(reason: str = "by hand", *, now: int = NOW, versions: dict[str, int] | None = None) -> SourceChange:
    return SourceChange(reason, "ada", now, versions or VERSIONS)


def actions(store: SqlStore) -> list[tuple[Any, ...]]:
    with store._driver.transaction(write=False) as tx:
        return tx.run("SELECT action, filter, note, who FROM operator_action ORDER BY id")


def test_a_source_is_paused_once_when_enough_and_too_large_a_part_of_it_fails(store: SqlStore) -> None:
    fail(store, 2)
    assert past(store) == []  # fewer than the least
    fail(store, 1, first=2)
    commit(store, *(page(str(n), f"text {n}") for n in range(4)))
    assert past(store) == []  # three of seven
    fail(store, 1, first=3)
    assert past(store, "s", "t") == ["s"]
    assert past(store) == []  # it is paused already
    assert store.paused_sources() == {"s": "4 of its last 8 pages failed (50 %)"}
    assert actions(store) == [("pause", '{"source":"s"}', "4 of its last 8 pages failed (50 %)", "ceiling")]


def test_one_sources_failures_do_not_pause_another(store: SqlStore) -> None:
    fail(store, 9, source="bad")
    commit(store, page("1", "a", source="good"))
    assert past(store, "bad", "good") == ["bad"]


def test_only_this_hour_and_the_last_are_counted(store: SqlStore) -> None:
    fail(store, 5, now=NOW)
    assert past(store, now=NOW + 2 * HOUR) == []
    fail(store, 1, now=NOW + HOUR, first=5)
    assert past(store, now=NOW + HOUR) == ["s"]


def test_after_a_resume_the_failures_count_anew(store: SqlStore) -> None:
    fail(store, 5)
    assert past(store) == ["s"]
    assert store.resume_source("s", by_hand("mended"), epoch=EPOCH)
    assert past(store) == []
    fail(store, 2, first=5)
    assert past(store) == []
    fail(store, 1, first=7)
    assert past(store) == ["s"]
    assert store.paused_sources() == {"s": "3 of its last 3 pages failed (100 %)"}


def test_failures_of_before_a_resume_that_become_pages_do_not_hide_new_ones(store: SqlStore) -> None:
    fail(store, 5)
    assert past(store) == ["s"]
    assert store.resume_source("s", by_hand("mended", now=NOW + SECOND), epoch=EPOCH)
    for _ in range(4):
        (lease,) = store.claim_failures(limit=1, lease_us=SECOND, now=NOW, parser_versions={"vardump": 2})
        key = lease.payload.item or ""
        mended = RetryArrival(
            failure_id=lease.id,
            lease_token=lease.token,
            observed_at=lease.observed_at,
            payload=lease.payload,
            payload_hash=lease.payload_hash,
            result=page(key, f"mended {key}").result,
        )
        assert store.commit_retry(mended, worker="w", now=NOW + 2 * SECOND) == "new"
    fail(store, 3, first=5, now=NOW + 3 * SECOND)
    assert past(store) == ["s"]
    assert store.paused_sources() == {"s": "3 of its last 3 pages failed (100 %)"}


def test_failures_before_a_resume_do_not_count_in_the_next_hour(store: SqlStore) -> None:
    fail(store, 5, now=NOW - HOUR)
    fail(store, 5, now=NOW, first=5)
    assert past(store) == ["s"]
    store.resume_source("s", by_hand(), epoch=EPOCH)
    fail(store, 2, now=NOW + HOUR, first=20)
    assert past(store, now=NOW + HOUR) == []
    fail(store, 1, now=NOW + HOUR, first=22)
    assert past(store, now=NOW + HOUR) == ["s"]


def test_what_is_not_paused_cannot_be_resumed_nor_paused_twice(store: SqlStore) -> None:
    assert not store.resume_source("s", by_hand(), epoch=EPOCH)
    assert store.pause_source("s", by_hand("the site asked us to"))
    assert not store.pause_source("s", by_hand("again"))
    assert store.source_states() == {
        "s": {
            "state": "paused",
            "since": "2023-11-14T22:13:20+00:00",
            "reason": "the site asked us to",
            "changed_by": "ada",
        }
    }
    assert store.resume_source("s", by_hand("they agree"), epoch=EPOCH)
    assert [row[0] for row in actions(store)] == ["pause", "resume"]
    assert store.source_states()["s"]["state"] == "active"


def test_a_newer_parser_resumes_what_the_ceiling_paused_and_no_other(store: SqlStore) -> None:
    fail(store, 5)
    assert past(store) == ["s"]
    store.pause_source("asked", by_hand("the site asked us to"))
    assert store.resume_newer(epoch=EPOCH, parser_versions=VERSIONS, now=NOW) == []
    newer = VERSIONS | {"vardump": 2}
    assert store.resume_newer(epoch=EPOCH, parser_versions=newer, now=NOW) == [
        Paused("s", "parser vardump 2 is newer than when it was paused")
    ]
    assert store.resume_newer(epoch=EPOCH, parser_versions=newer, now=NOW) == []
    assert list(store.paused_sources()) == ["asked"]
    assert past(store) == []  # its failures count anew


def test_nothing_of_a_paused_source_is_fetched_tried_again_or_due(store: SqlStore) -> None:
    start = page("1", "a", discovered=[item("2")])
    commit(store, start, broken("3", retry_at=NOW), broken("4", b"older", error_class="UnknownFormat"))
    commit(store, page("9", "b", source="t", discovered=[item("8")]), broken("7", source="t", retry_at=NOW))
    store.pause_source("s", by_hand())
    newer = {"vardump": 2}

    def claimed() -> tuple[set[str], set[str]]:
        leases = store.claim_failures(limit=9, lease_us=SECOND, now=NOW, parser_versions=newer)
        return {str(one.payload.item) for one in leases}, {one.item_key for one in claim(store)}

    due = store.due_counts(now=NOW, run="r", budgets={}, parser_versions=newer)
    assert (due.failures, due.items) == (1, 1)
    assert claimed() == ({"7"}, {"8"})
    store.resume_source("s", by_hand(), epoch=EPOCH)
    assert claimed() == ({"3", "4"}, {"2"})
